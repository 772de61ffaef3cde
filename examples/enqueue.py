"""Schedules a post from any Python script. Run it where `schedulerx up` runs (or set DATABASE_URL and R2_*)."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from scheduler import Media, get, schedule

day = datetime.now(ZoneInfo("Europe/Berlin")).date() + timedelta(days=1)
post = schedule(
    "Soup of the day: carrot and ginger https://example.com/soup",
    to=["x:acme", "pinterest:acme"],
    at=datetime.combine(day, time(12)),
    tz="Europe/Berlin",
    media=[Media("soup.jpg", alt="A bowl of orange soup")],
    options={"pinterest": {"board": "Recipes", "title": "Carrot soup"}},
    idempotency_key=f"soup-{day}",  # however often it runs on a day: one soup for the next
)
print(post.id, [(one.account, one.status) for one in get(post).scheduled])
