"""``schedulerx accounts ...``."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.table import Table
from rich.text import Text

from platforms import registry
from scheduler import accounts, profiles
from scheduler import connect as connecting
from scheduler.api import database
from scheduler.cli import sign_in
from scheduler.cli.credential_words import check_shape
from scheduler.cli.output import FAILED, account_cell, ago, console, emit, read_input, say, told, who
from scheduler.connect import DEFAULT_PORT
from scheduler.errors import Refused
from scheduler.settings import current

app = typer.Typer(no_args_is_help=True, help="Connected profiles and their credentials.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command()
def add(
    platform: Annotated[str, typer.Argument(help="Such as x or pinterest.")],
    name: Annotated[str, typer.Argument(help="Your own short name; PLATFORM:NAME names the account from then on.")],
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Ask the platform whose credentials these are.")
    ] = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let another profile take over a name that is in use.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Store an account. The credentials are one JSON object on standard input; a terminal is asked for them.

    Exit 0: stored, also where the platform could not be asked just now; 1: stored, but the platform does not take
    them or lacks a scope; 2: refused, since the name is another profile's, or may be while posts hang on it.
    Example: schedulerx accounts add x acme < credentials.json
    """
    with told(as_json=as_json):
        settings = current()
        settings.secret()  # before anything is typed
        if platform not in registry.names():
            raise Refused(f"There is no platform {platform!r}; there are: {', '.join(registry.names())}")
        credentials = _ask(platform) if sys.stdin.isatty() else accounts.parse_credentials(read_input())
        check_shape(platform, credentials)
        made, checked = profiles.store(settings, platform, name, credentials, ask=check, replace=replace)
    found = checked.as_json() if checked else None
    if as_json:
        emit({**made.as_json(), "checked": found})
    elif found and not found["asked"]:
        say(f"{made.account} is stored, not checked: {found['message']}")
        say(f"Check it later: schedulerx accounts check {made.account}")
    else:
        say(f"{made.account} is stored" + (f"; {found['message']}" if found else ""))
    # What nobody could answer says nothing against the credentials.
    if found and found["asked"] and not found["ok"]:
        raise typer.Exit(FAILED)


@app.command()
def connect(
    platform: Annotated[str, typer.Argument(help="Such as x or pinterest.")],
    name: Annotated[str, typer.Argument(help="Your own short name; PLATFORM:NAME names the account from then on.")],
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address; paste the one you are sent back to.")
    ] = False,
    client_id: Annotated[str | None, typer.Option(help="Of your app; its secret is never said here.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1024, max=65535, help=f"Of this machine, for the way back ({DEFAULT_PORT}).")
    ] = None,
    redirect_uri: Annotated[
        str | None, typer.Option(help="The way back, as registered with your app, where it is not this machine.")
    ] = None,
    handle: Annotated[str | None, typer.Option(help="Bluesky: your handle or DID.")] = None,
    server: Annotated[str | None, typer.Option(help="Mastodon, Bluesky: your own server.")] = None,
    login: Annotated[str | None, typer.Option(help="Instagram: instagram or facebook.")] = None,
    profile: Annotated[str | None, typer.Option(help="Instagram by facebook: which of several accounts.")] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What else the platform asks for: secret_boards, access_tier (Pinterest), business (Instagram).",
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Store the account though not everything was granted.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let another profile take over a name that is in use.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the browser.")] = 300.0,
    as_json: Json = False,
) -> None:
    """Connect an account by the platform's own sign-in page. docs/platforms/connecting.md says what to register.

    Secrets of your app come from the environment (SCHEDULERX_X_CLIENT_SECRET) or are asked for.
    Example: schedulerx accounts connect mastodon acme --server mastodon.social
    """
    flags = {
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "handle": handle,
        "server": server,
        "login": login,
        "profile": profile,
    }
    with told(as_json=as_json):
        settings = current()
        given = sign_in.answers(platform, answer or (), flags)
        planned = connecting.plan(settings, platform, name, given=given, ask=sign_in.ask, replace_profile=replace)
        done = sign_in.run(
            settings,
            planned,
            port=port,
            no_browser=no_browser,
            timeout_s=timeout,
            allow_missing=allow_missing,
            replace_profile=replace,
        )
        with database(settings) as conn:
            others = accounts.same_profile(conn, done.account)
    missing = list(done.missing)
    if as_json:
        emit({**done.account.as_json(), "ok": True, "scopes": list(done.identity.scopes), "missing_scopes": missing})
        return
    words = [f"{done.account.account} is connected as {done.identity.handle or done.identity.remote_id}"]
    words += [profiles.also(others)] if others else []
    words += [f"not granted: {', '.join(missing)}"] if missing else []
    words += [f"{done.released} posts that waited for it go on"] if done.released else []
    say("; ".join(words))


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List accounts. Example: schedulerx accounts list --json"""
    with told(as_json=as_json), database() as conn:
        rows = accounts.listing(conn)
    if as_json:
        emit([row.as_json() for row in rows])
        return
    if not rows:
        say("No account yet. Example: schedulerx accounts add x acme < credentials.json")
        return
    table = Table(header_style="bold")
    for heading in ("account", "profile", "state", "token ends", "waits until"):
        table.add_column(heading)
    for row in rows:
        state = row.state + (" (paused)" if row.paused else "")
        table.add_row(
            row.account,
            Text(row.handle or "-"),
            account_cell(state, row.api_url),
            ago(row.token_expires_at),
            ago(row.limited_until),
        )
    console().print(table)


@app.command()
def check(
    account: Annotated[str | None, typer.Argument(metavar="[PLATFORM:NAME]")] = None, as_json: Json = False
) -> None:
    """Ask the platforms whose credentials these are. Example: schedulerx accounts check x:acme"""
    with told(as_json=as_json):
        with database() as conn:
            names = [account] if account else [one.account for one in accounts.listing(conn)]
        found = [profiles.check(current(), one).as_json() for one in names]
    if as_json:
        emit(found)
    else:
        for one in found:
            say(f"{one['account']}: {one['message']}")
    if not all(one["ok"] for one in found):
        raise typer.Exit(FAILED)


@app.command()
def remove(account: Annotated[str, typer.Argument(metavar="PLATFORM:NAME")], as_json: Json = False) -> None:
    """Delete an account: its credentials are wiped and what waits for it is canceled.

    Example: schedulerx accounts remove x:acme
    """
    with told(as_json=as_json), database() as conn:
        canceled = accounts.remove(conn, account, by=who())
    if as_json:
        emit({"account": account, "canceled": canceled})
    else:
        say(f"{account} is removed; {canceled} waiting posts were canceled")


@app.command("rotate-key")
def rotate_key(as_json: Json = False) -> None:
    """Encrypt all credentials under the first key of SCHEDULERX_SECRET_KEY.

    Example: SCHEDULERX_SECRET_KEY=new,old schedulerx accounts rotate-key
    """
    with told(as_json=as_json), database() as conn:
        count = accounts.rotate_keys(conn, current())
    if as_json:
        emit({"rotated": count})
    else:
        say(f"{count} accounts are encrypted under the first key; the others may be dropped")


def _ask(platform: str) -> dict[str, Any]:
    """The credentials, field by field, without showing them."""
    found: dict[str, Any] = {}
    model = registry.get(platform).credentials_model
    # On the other stream: what is printed may be JSON. The words of the module say what belongs together.
    say(" ".join((model.__doc__ or "").replace("``", "").split()), stderr=True)
    for field, info in model.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("asked") is False:
            continue  # made by ``connect`` or by the module, never typed
        value = getpass.getpass(f"{field} ({_hint(field, info)}): ").strip()
        if value:
            try:
                found[field] = json.loads(value) if value[0] in "[{" else value
            except ValueError:
                found[field] = value
    return found


def _hint(field: str, info: FieldInfo) -> str:
    """What to type: the module's own words, else whether it is needed and of what form it is."""
    extra = info.json_schema_extra
    if isinstance(extra, dict) and isinstance(hint := extra.get("hint"), str):
        return hint
    words = ["needed" if info.is_required() else "may be empty"]
    words += [f"one of {', '.join(map(str, choices))}"] if (choices := _choices(info.annotation)) else []
    words += ["2026-12-24T18:00+01:00, or seconds since 1970"] if field.endswith("_at") else []
    return "; ".join(words)


def _choices(annotation: Any) -> list[Any]:
    """What a field may be, where it is one of a few words."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _choices(part)]
