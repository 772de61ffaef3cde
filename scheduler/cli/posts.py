"""``schedulerx post``, ``check`` and ``posts ...``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from sqlalchemy import text as sql

from platforms.base import AccountRef
from scheduler import accounts, changes, costs, intake
from scheduler import posts as store
from scheduler.api import database, first_part, schedule
from scheduler.arguments import options_given
from scheduler.changes import Changes
from scheduler.checking import check_one
from scheduler.cli.known import must_exist
from scheduler.cli.option_words import options_of
from scheduler.cli.output import FAILED, REFUSED, console, emit, posts_table, read_input, say, told, who
from scheduler.errors import NotAllowed, Refused, UnknownAccount
from scheduler.intake import Media
from scheduler.options import post_options, strangers
from scheduler.settings import current

HISTORY = sql("""
    SELECT scheduled_post_id AS id, at, from_status, to_status, by, why
      FROM transitions t WHERE scheduled_post_id = ANY(:ids) ORDER BY t.id
""")
TRIES = sql("""
    SELECT scheduled_post_id AS id, started_at, sent_at, finished_at, outcome, settled, http_status, error_code,
           error_message, worker, part, remote_url AS url
      FROM publish_attempts WHERE scheduled_post_id = ANY(:ids) ORDER BY started_at
""")
FILES = sql("""
    SELECT m.scheduled_post_id AS id, a.name, m.alt, r.state, r.progress, r.size, r.mime, r.width, r.height,
           r.actions, coalesce(r.error_message, a.error_message) AS error
      FROM scheduled_post_media m JOIN media_assets a ON a.id = m.asset_id
      LEFT JOIN renditions r ON r.id = m.rendition_id
     WHERE m.scheduled_post_id = ANY(:ids) ORDER BY m.scheduled_post_id, m.position
""")

app = typer.Typer(no_args_is_help=True, help="Look at and change scheduled posts.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Option_ = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="PLATFORM.KEY=VALUE",
        help="A platform's option, e.g. pinterest.board=Recipes; or post.window_minutes=30. Values may be JSON.",
    ),
]
MediaOption = Annotated[
    list[str] | None, typer.Option("--media", metavar="FILE|URL", help="A picture; repeat for more.")
]
PartOption = Annotated[
    list[str] | None,
    typer.Option(
        "--part",
        metavar="TEXT",
        help="A further part: the post becomes a thread; repeat for more. Media go to the first part; otherwise say"
        ' --option post.thread=\'[{"text": "...", "files": [1]}]\' (files: places among --media, from 0).',
    ),
]
Alt = Annotated[list[str] | None, typer.Option("--alt", help="What the picture shows; one for each --media, in order.")]


def media_of(files: list[str] | None, alts: list[str] | None) -> list[Media]:
    """Files with their alt texts. :raises Refused: more texts than files."""
    named, words = files or [], alts or []
    if len(words) > len(named):
        raise Refused(f"{len(words)} --alt for {len(named)} --media")
    return [Media(name, alt) for name, alt in zip(named, [*words, *[""] * len(named)], strict=False)]


def post(
    text: Annotated[str, typer.Argument(help="What to say. - reads it from standard input.")],
    to: Annotated[list[str], typer.Option("--to", metavar="PLATFORM:NAME", help="An account; repeat for more.")],
    part: PartOption = None,
    media: MediaOption = None,
    alt: Alt = None,
    at: Annotated[
        str, typer.Option(help="When: 2026-12-24T18:00 (with --tz), 2026-12-24T18:00+01:00, or now.")
    ] = "now",
    tz: Annotated[str | None, typer.Option(help="IANA zone for a time without offset, e.g. Europe/Berlin.")] = None,
    option: Option_ = None,
    key: Annotated[str | None, typer.Option("--key", help="Idempotency key: the same key makes one post only.")] = None,
    as_json: Json = False,
) -> None:
    """Schedule a post.

    Example: schedulerx post "Soup is ready" --to x:acme --to pinterest:acme --media soup.jpg --alt "a bowl"
    --option pinterest.board=Recipes --at 2026-12-24T18:00 --tz Europe/Berlin
    """
    with told(as_json=as_json):
        words = read_input() if text == "-" else text
        made = schedule(
            [words, *part] if part else words,
            to=to,
            at=at,
            tz=tz,
            media=media_of(media, alt),
            options=options_of(option),
            idempotency_key=key,
        )
        with database() as conn:
            charges = costs.of_post(conn, made.id)
    if as_json:
        emit({**_with_costs(made, charges), "repeated": made.repeated})
    else:
        title = f"Post {made.id} was accepted before, with this key" if made.repeated else f"Post {made.id} is accepted"
        console().print(posts_table(made.scheduled, title=title))
        if made.repeated:
            say("No new post was made. For another one, use another --key.")
        _say_costs(made, charges)
        _say_paused(made)


def _say_paused(post: store.Post) -> None:
    """What was accepted, and does not go out before somebody lets it."""
    if any(one.everything_paused for one in post.scheduled):
        say("Everything is paused: it goes out once that is released with: schedulerx resume")
    for account in sorted({one.account for one in post.scheduled if one.paused and not one.published_at}):
        say(f"{account} is paused: it goes out there once that is released with: schedulerx resume {account}")


def _with_costs(post: store.Post, charges: Mapping[int, costs.Charge | None]) -> dict[str, Any]:
    """A post for ``--json``, each of its scheduled posts with its cost."""
    told = post.as_json()
    for row in told["scheduled"]:
        found = charges.get(row["id"])
        row["cost"] = found.as_json() if found else None
    return told


def _say_costs(post: store.Post, charges: Mapping[int, costs.Charge | None]) -> None:
    for one in post.scheduled:
        if found := charges.get(one.id):
            say(f"  {one.id} {one.account}: {found}")


def check(
    text: Annotated[str, typer.Argument(help="The text to check. - reads it from standard input.")],
    for_: Annotated[
        list[str],
        typer.Option("--for", metavar="PLATFORM[:NAME]", help="Where it would go; repeat for more."),
    ],
    part: PartOption = None,
    media: MediaOption = None,
    alt: Alt = None,
    option: Option_ = None,
    as_json: Json = False,
) -> None:
    """Check a post against the rules of platforms, without storing anything.

    Example: schedulerx check "Hello" --for x --for pinterest:acme --media pin.png --option pinterest.board=Recipes
    """
    with told(as_json=as_json):
        settings = current()
        text = read_input() if text == "-" else text
        chosen = options_given(options_of(option))
        first_part([text, *part] if part else text, chosen)
        arrived, general = intake.look_at(media_of(media, alt), settings)
        of_post, bad = post_options(chosen)
        named = [_reference(one) for one in for_]
        general = general + bad + strangers(chosen, [(one.platform, one.name) for one in named])
        targets: list[dict[str, Any]] = []
        for account in named:
            found = check_one(text, account, arrived, chosen, of_post, settings)
            price = costs.charge(found.module, found.parts.drafts)
            targets.append(
                {
                    "platform": account.platform,
                    "account": f"{account.platform}:{account.name}" if account.name else None,
                    "length": found.module.text_length(found.draft.text),
                    "limit": found.module.capabilities.text_limit,
                    "parts": [found.module.text_length(draft.text) for draft in found.parts.drafts],
                    "violations": [
                        {"code": one.code, "message": one.message, "field": one.field, "file": one.file}
                        for one in dict.fromkeys([*general, *found.violations])
                    ],
                    "media": [
                        {
                            "file": one.name,
                            "actions": [{"name": act.name, "why": act.why} for act in recipe.actions],
                        }
                        for one, recipe in zip([arrived[place] for place in found.uses], found.recipes, strict=False)
                    ],
                    "cost": price.as_json() if price else None,
                }
            )
    good = all(not target["violations"] for target in targets)
    if as_json:
        emit({"ok": good, "targets": targets})
    else:
        for target in targets:
            mark = "ok" if not target["violations"] else "refused"
            lengths = ", ".join(map(str, target["parts"]))
            say(f"{target['account'] or target['platform']}: {mark}, length {lengths} of {target['limit']}")
            if price := target["cost"]:
                say(f"  costs {price['amount']} {price['currency']} ({price['words']}; {price['source']})")
            for one in target["violations"]:
                say(f"  - {one['message']} [{one['code']}]")
            for one in target["media"]:
                for action in one["actions"]:
                    say(f"  {one['file']}: {action['name']} ({action['why']})")
    if not good:
        raise typer.Exit(REFUSED)


def _reference(target: str) -> AccountRef:
    """An account where one is named and stored, else the platform alone."""
    if ":" in target:
        with database() as conn:
            return accounts.reference(accounts.find(conn, target))
    from platforms import registry

    if target not in registry.names():
        raise UnknownAccount(f"There is no platform {target!r}; there are: {', '.join(registry.names())}")
    return AccountRef(platform=target, name="")


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    status: Annotated[list[str] | None, typer.Option(help="Only these; repeat for more.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account, PLATFORM:NAME.")] = None,
    as_json: Json = False,
) -> None:
    """List scheduled posts, the latest due first. Example: schedulerx posts list --status failed --json"""
    from db.states import Status

    with told(as_json=as_json):
        unknown = sorted(set(status or []) - {one.value for one in Status})
        if unknown:
            raise Refused(
                f"There is no status {', '.join(unknown)}; there are: {', '.join(one.value for one in Status)}"
            )
        if account:
            accounts.split(account)
        with database() as conn:
            rows = store.listing(conn, limit=limit, statuses=status or (), account=account)
            if account and not rows:
                must_exist(conn, account)
    if as_json:
        emit([row.as_json() for row in rows])
    elif rows:
        console().print(posts_table(rows, words=True))
    elif status or account:
        say("No scheduled post matches that filter; all of them: schedulerx posts list")
    else:
        say("Nothing is scheduled. Example: schedulerx post 'Hello' --to x:acme --at now")


@app.command()
def show(number: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Show a post with all that happened to it. Example: schedulerx posts show 12"""
    with told(as_json=as_json), database() as conn:
        found = store.load(conn, number)
        ids = [one.id for one in found.scheduled]
        history, tries, media = (
            conn.execute(query, {"ids": ids}).mappings().all() for query in (HISTORY, TRIES, FILES)
        )
        charges = costs.of_post(conn, found.id)
    if as_json:
        emit(
            {
                **_with_costs(found, charges),
                "history": [dict(row) for row in history],
                "attempts": [dict(row) for row in tries],
                "media": [dict(row) for row in media],
            }
        )
        return
    out = console()
    out.print(posts_table(found.scheduled, title=f"Post {found.id} (correlation {found.correlation_id})"))
    for words in (found.text, *found.thread):
        say(words)
    _say_costs(found, charges)
    for one in found.scheduled:
        for bad in one.not_ready:
            say(f"  {one.id}: not ready: {bad['message']} [{bad['code']}]")
    for one in found.scheduled:
        for place, part in enumerate(one.parts_out, 1):
            link = part["url"] or part["remote_id"] or "public, without a link"
            say(f"  {one.id}: part {place} of {one.parts}: {link}")
    for row in media:
        say(
            f"  {row['id']}: {row['name']} -> {row['state'] or 'waits'} {row['mime'] or ''}"
            f" {row['width'] or '?'}x{row['height'] or '?'} {row['size'] or '?'} B {row['error'] or ''}"
        )
    for row in history:
        say(
            f"  {row['at']:%Y-%m-%d %H:%M:%S.%f} UTC {row['id']}: {row['from_status']} -> {row['to_status']}"
            f" ({row['by']}) {row['why']}"
        )
    for row in tries:
        say(
            f"  try at {row['started_at']:%Y-%m-%d %H:%M:%S} UTC {row['id']}: {row['outcome'] or 'under way'}"
            f" {row['http_status'] or ''} {row['error_code'] or ''} {row['error_message'] or ''}"
        )


@app.command()
def edit(
    number: Annotated[int, typer.Argument(metavar="ID")],
    text: Annotated[str | None, typer.Option(help="The new text.")] = None,
    part: PartOption = None,
    media: MediaOption = None,
    alt: Alt = None,
    no_media: Annotated[bool, typer.Option("--no-media", help="Take all media away.")] = False,
    option: Option_ = None,
    as_json: Json = False,
) -> None:
    """Give a post new content. Example: schedulerx posts edit 12 --text "Soup is almost ready" """
    with told(as_json=as_json):
        given = media_of(media, alt) if media or no_media else None
        if alt and given is None:
            raise Refused("--alt needs --media: name the files that it speaks of")
        if text is None and not part and given is None and not option:
            raise Refused(
                "Nothing to change was given; say what is new: --text (with --part for a thread), --media (with --alt),"
                " --no-media or --option"
            )
        if part and text is None:
            raise Refused("--part needs --text: say the whole thread")
        words = [text, *part] if part and text is not None else text
        done = changes.edit(number, text=words, media=given, options=options_of(option) if option else None, by=who())
    _report(done, as_json=as_json)


@app.command()
def cancel(number: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Stop a post. Example: schedulerx posts cancel 12"""
    with told(as_json=as_json):
        done = changes.cancel(number, by=who())
    _report(done, as_json=as_json)


@app.command()
def reschedule(
    number: Annotated[int, typer.Argument(metavar="ID")],
    at: Annotated[str, typer.Option(help="The new time, as for post.")],
    tz: Annotated[str | None, typer.Option(help="IANA zone for a time without offset.")] = None,
    as_json: Json = False,
) -> None:
    """Give a post another time. Example: schedulerx posts reschedule 12 --at 2026-12-25T09:00 --tz Europe/Berlin"""
    with told(as_json=as_json):
        done = changes.reschedule(number, at, tz=tz, by=who())
    _report(done, as_json=as_json)


@app.command()
def retry(number: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Bring back what failed, was missed or canceled. Example: schedulerx posts retry 12"""
    with told(as_json=as_json):
        done = changes.retry(number, by=who())
    _report(done, as_json=as_json)


def _report(done: Changes, *, as_json: bool) -> None:
    if as_json:
        left = "; ".join(f"{one.id} {one.account}: {one.message}" for one in done.changes if not one.done)
        emit(
            {
                "ok": done.done,
                **({} if done.done else {"error": {"code": NotAllowed.code, "message": left}}),
                "changes": [one.as_json() for one in done.changes],
                "post": done.post.as_json(),
            }
        )
    else:
        for one in done.changes:
            say(f"{one.id} {one.account}: {one.message}")
    if not done.done:
        raise typer.Exit(FAILED)
