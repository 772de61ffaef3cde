"""A browser that signs in to the sandbox: follows a page's form as a person would, and goes where it is sent.

As a program it is what ``accounts connect`` opens (``BROWSER``): the address is its argument, ``CONSENT`` in the
environment says what the person does there, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

import requests


class Form(HTMLParser):
    """The fields of the only form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = found["action"]
        if tag == "input":
            self.fields.append((found["name"], found["value"]))


def sign_in(url: str, account: str = "acme", *, deny: bool = False, without: Sequence[str] = ()) -> str:
    """Where the browser is sent after the page: the redirect with its code, or with an error.

    :raises AssertionError: the page shows no form, and sends nobody anywhere.
    """
    page = requests.get(url, timeout=10, allow_redirects=False)
    if page.is_redirect:
        return page.headers["location"]
    assert page.status_code == 200, page.text[-300:]
    form = Form(page.text)
    rows = [(name, value) for name, value in form.fields if name != "account" and value not in without]
    rows += [("account", account), ("decision", "deny" if deny else "allow")]
    origin = "/".join(url.split("/")[:3])
    answer = requests.post(origin + form.action, data=rows, timeout=10, allow_redirects=False)
    assert answer.status_code == 303, answer.text[-300:]
    return answer.headers["location"]


def code_of(location: str) -> str:
    """The code in an address that the browser was sent to."""
    return dict(parse_qsl(urlsplit(location).query))["code"]


if __name__ == "__main__":
    landed = requests.get(sign_in(sys.argv[1], **json.loads(os.environ.get("CONSENT", "{}"))), timeout=10)
    said = os.environ.get("BROWSER_LOG")
    if said:
        with open(said, "a", encoding="utf-8") as out:  # noqa: PTH123 - a name from the environment
            out.write(f"{landed.status_code} {landed.text}\n")
