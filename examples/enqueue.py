"""Schedules a post from any Python script. Run it where `schedulerx up` runs (or set DATABASE_URL and R2_*)."""

from datetime import UTC, datetime, timedelta

from scheduler import Media, get, schedule

post = schedule(
    "Soup of the day: carrot and ginger https://example.com/soup",
    to=["x:acme", "pinterest:acme"],
    at=datetime.now(UTC) + timedelta(seconds=5),
    media=[Media("soup.jpg", alt="A bowl of orange soup")],
    options={"pinterest": {"board": "Recipes", "title": "Carrot soup"}},
    idempotency_key="soup-of-the-day",
)
print(post.id, [(one.account, one.status) for one in get(post).scheduled])
