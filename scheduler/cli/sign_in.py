"""How ``accounts connect`` meets a person: questions, the browser, the way back.

All of it is said on standard error: standard output holds the result alone.
"""

from __future__ import annotations

import getpass
import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from platforms import registry
from platforms.connect import Connectable, Question, parameters_of, same_place
from scheduler.callback import CallbackServer
from scheduler.connect import DEFAULT_PORT, NotConnected, Outcome, Plan, SignIn, setting
from scheduler.errors import Refused
from scheduler.settings import Settings

LONGEST_PASTE = 8_192
"""Characters of an address that is pasted; no platform's is longer than 2,000."""


def tell(message: str) -> None:
    """A line for the person, beside the result. Never wrapped: an address has to stay in one piece."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def heard() -> str:
    """A line that was typed or pasted; empty at the end of the input."""
    return sys.stdin.readline(LONGEST_PASTE)


def answers(platform: str, said: Sequence[str], flags: Mapping[str, str | None]) -> dict[str, str | None]:
    """The answers of the command line: those by an option of their own, and any other as ``NAME=VALUE``.

    :raises Refused: it is no such pair, the platform does not ask for it, it is a secret, or was said twice.
    """
    found = dict(flags)
    asked = _questions(platform)
    for pair in said:
        name, _, value = (part.strip() for part in pair.partition("="))
        name = name.replace("-", "_")
        if not name or not value:
            # It is not repeated: where the = was forgotten it may be a secret.
            raise Refused("An --answer is written NAME=VALUE, such as secret_boards=yes")
        if name in asked and asked[name].secret:
            variable = setting(platform, name)
            raise Refused(f"{name} is a secret, and others can read a command line; say it by {variable}")
        if asked and name not in asked:
            names = ", ".join(question.name for question in asked.values() if not question.secret)
            raise Refused(f"{platform} does not ask for {name!r}; it asks for: {names}")
        if found.get(name):
            raise Refused(f"{name} is said twice")
        found[name] = value
    return found


def _questions(platform: str) -> dict[str, Question]:
    """What the platform asks for; nothing where it cannot be connected so: that is told when the sign-in is planned."""
    if platform not in registry.names():
        return {}
    module = registry.get(platform)
    questions = module.connector.questions if isinstance(module, Connectable) else ()
    return {question.name: question for question in questions}


def ask(question: Question) -> str | None:
    """What a person at a terminal answers; None where there is none."""
    if not sys.stdin.isatty():
        return None
    if question.secret:
        return getpass.getpass(f"{question.words}: ")
    tell(f"{question.words}: ")
    return heard()


def choose(words: str, names: Sequence[str]) -> str | None:
    """Which of several a person at a terminal means; None where there is none."""
    if not sys.stdin.isatty():
        return None
    tell(words)
    for number, name in enumerate(names, 1):
        tell(f"  {number}  {name}")
    said = heard().strip()
    return names[int(said) - 1] if said.isdecimal() and 1 <= int(said) <= len(names) else said


def run(
    settings: Settings,
    plan: Plan,
    *,
    port: int | None,
    no_browser: bool,
    timeout_s: float,
    allow_missing: bool,
    replace_profile: bool,
) -> Outcome:
    """The whole sign-in; what was stored.

    :raises SchedulerXError: it did not lead to an account; says why.
    """
    place = urlsplit(plan.redirect_uri)
    host, path = plan.facts.redirect.host, plan.facts.redirect.path
    if plan.redirect_uri:
        host, path = place.hostname or "", place.path
    wanted = place.port or port
    if no_browser or not plan.listens:
        redirect_uri = plan.redirect_uri or f"http://{host}:{wanted or DEFAULT_PORT}{path}"
        sign_in = SignIn(settings, plan, redirect_uri, choose)
        try:
            url = sign_in.begin().url
            answer = _pasted(url, redirect_uri)
            return sign_in.finish(answer, allow_missing=allow_missing, replace_profile=replace_profile)
        finally:
            sign_in.close()
    otherwise = 0 if plan.facts.redirect.any_port else DEFAULT_PORT
    with CallbackServer(host, path, wanted or otherwise) as server:
        sign_in = SignIn(settings, plan, server.redirect_uri, choose)
        try:
            begun = sign_in.begin()
            server.expect(begun.state)
            _open(begun.url)
            try:
                answer = server.wait(timeout_s)
            except TimeoutError:
                raise NotConnected(
                    "timeout", f"The browser did not come back within {timeout_s:.0f} s; nothing was stored"
                ) from None
            return sign_in.finish(answer, allow_missing=allow_missing, replace_profile=replace_profile)
        finally:
            sign_in.close()


def _open(url: str) -> None:
    """Opens the address in a browser with a window, where there is one; says it in any case."""
    shown = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    # Without a screen Python would start a browser for terminals, in this one.
    if shown and webbrowser.open(url):
        tell(f"Your browser opens this address; sign in there:\n\n  {url}\n")
    else:
        tell(f"Open this address in a browser of this machine (or use --no-browser):\n\n  {url}\n")


def _pasted(url: str, redirect_uri: str) -> Mapping[str, str]:
    """What the browser was sent back with, as a person pasted it. :raises Refused: that is another address."""
    tell(
        f"Open this address in any browser and sign in:\n\n  {url}\n\n"
        f"You are sent to {redirect_uri}..., which may show an error. Paste its whole address here:"
    )
    line = heard().strip()
    if not line:
        raise Refused("No address was pasted; nothing was stored")
    if not same_place(line, redirect_uri):
        raise Refused(f"That is not the address you were sent back to; it begins with {redirect_uri}?")
    return parameters_of(line)


__all__ = ["answers", "ask", "choose", "heard", "run", "tell"]
