"""What scripts and shells hand over that cannot be taken: refused in words, by ``schedule()`` and ``edit()`` alike."""

from __future__ import annotations

import os
import shutil
from datetime import tzinfo
from pathlib import Path

import pytest

from scheduler import InvalidPost, InvalidTime, Media, Refused, UnknownAccount, edit, get, schedule

SOON = "2031-05-04T18:00:00+02:00"


@pytest.fixture
def acme(fake, account):
    """The account fake:acme."""
    return account("fake:acme")


@pytest.fixture
def wrong_files(tmp_path, pictures):
    """Files that are none, and one that is."""
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "words.jpg").write_text("not a picture at all")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 20)
    (tmp_path / "folder.jpg").mkdir()
    shutil.copy(pictures["png"], tmp_path / "good.png")
    return tmp_path


class Loop(dict):
    """A mapping that holds itself."""

    def __init__(self):
        super().__init__(me=self)


def nested(depth):
    """A list in a list in a list."""
    found = []
    for _ in range(depth):
        found = [found]
    return found


REFUSED = {
    "no such platform": ({"to": "nowhere:acme"}, UnknownAccount, "nowhere"),
    "no such account": ({"to": "fake:nobody"}, UnknownAccount, "fake:acme"),
    "no account at all": ({"to": []}, Refused, "at least one"),
    "not the form of an account": ({"to": "acme"}, UnknownAccount, "PLATFORM:NAME"),
    "the same account twice": ({"to": ["fake:acme", "fake:acme"]}, InvalidPost, "twice"),
    "too long": ({"text": "a" * 501}, InvalidPost, "501 characters; at most 500"),
    "empty": ({"text": "  "}, InvalidPost, "empty_post"),
    "a NUL": ({"text": "a\x00b"}, InvalidPost, "bad_text"),
    "a lone surrogate": ({"text": "a\ud800b"}, InvalidPost, "bad_text"),
    "no text but bytes": ({"text": b"hello"}, Refused, "bytes"),
    "in the past": ({"at": "2020-01-01T00:00:00Z"}, InvalidTime, "past"),
    "in a hundred years": ({"at": "2126-01-01T00:00:00Z"}, InvalidTime, "ten years"),
    "without a zone": ({"at": "2031-05-04T18:00"}, InvalidTime, "time zone"),
    "no such zone": ({"at": "2031-05-04T18:00", "tz": "Mars/Olympus"}, InvalidTime, "Mars/Olympus"),
    "a local time that is skipped": ({"at": "2031-03-30T02:30", "tz": "Europe/Berlin"}, InvalidTime, "does not exist"),
    "no time": ({"at": "tomorrow-ish"}, InvalidTime, "tomorrow-ish"),
    "a number as time": ({"at": 17}, InvalidTime, "int"),
    "an option of nobody": ({"options": {"x": {"a": 1}}}, InvalidPost, "unknown_option"),
    "an unknown option": ({"options": {"fake": {"shape": "round"}}}, InvalidPost, "unknown_option"),
    "an option of a wrong type": ({"options": {"fake": {"must_be_short": "long"}}}, InvalidPost, "bad_option"),
    "an option group that is none": ({"options": {"fake": 5}}, InvalidPost, "bad_option"),
    "a window of nothing": ({"options": {"post": {"window_minutes": 0}}}, InvalidPost, "bad_option"),
    "options that are no JSON": ({"options": {"fake": {"colour": object()}}}, Refused, ""),
    "an empty key": ({"idempotency_key": ""}, Refused, "1 to 200"),
    "a key of a novel": ({"idempotency_key": "k" * 201}, Refused, "1 to 200"),
    "a file that is missing": ({"media": ["{tmp}/missing.jpg"]}, InvalidPost, "missing.jpg"),
    "a file that is empty": ({"media": ["{tmp}/empty.jpg"]}, InvalidPost, "empty.jpg"),
    "a file that is words": ({"media": ["{tmp}/words.jpg"]}, InvalidPost, "words.jpg"),
    "a file that is cut": ({"media": ["{tmp}/cut.png"]}, InvalidPost, "cut.png"),
    "a folder": ({"media": ["{tmp}/folder.jpg"]}, InvalidPost, "folder.jpg"),
    "media that is a number": ({"media": [7]}, InvalidPost, "int"),
    "a private address": ({"media": ["https://10.0.0.1/a.jpg"]}, InvalidPost, "10.0.0.1"),
    "a metadata address": ({"media": ["http://169.254.169.254/latest/meta-data"]}, InvalidPost, "169.254.169.254"),
    "this machine": ({"media": ["http://localhost:1/a.jpg"]}, InvalidPost, "localhost"),
    "an odd scheme": ({"media": ["file:///etc/passwd"]}, InvalidPost, "file"),
    "an alt text that is none": ({"media": [Media("{tmp}/good.png", alt=None)]}, InvalidPost, "alt"),
    "an alt text with a NUL": ({"media": [Media("{tmp}/good.png", alt="a\x00b")]}, InvalidPost, "bad_text"),
    "an alt text with a lone surrogate": ({"media": [Media("{tmp}/good.png", alt="\udcff")]}, InvalidPost, "bad_text"),
    "an alt text of a novel": ({"media": [Media("{tmp}/good.png", alt="a" * 10_001)]}, InvalidPost, "10001.* 1 more"),
    "media that is a mapping": ({"media": {"a.png": "alt"}}, Refused, "media must be"),
    "media that is one number": ({"media": 5}, Refused, "media must be"),
    "media that is bytes": ({"media": b"red.jpg"}, Refused, "media must be"),
    "bytes among media": ({"media": [b"red.jpg"]}, InvalidPost, "bytes"),
    "a name alone that is missing": ({"media": "red.jpg"}, InvalidPost, r"red\.jpg"),
    "a user who is not there": ({"media": ["~nobody-of-that-name/x.jpg"]}, InvalidPost, "nobody-of-that-name"),
    "a file that cannot be read": ({"media": ["/proc/self/mem"]}, InvalidPost, "/proc/self/mem"),
    "a file name with a NUL": ({"media": ["a\x00.jpg"]}, InvalidPost, "missing|bad_text"),
    "a file name that is no bytes": ({"media": ["a\ud800.jpg"]}, InvalidPost, "bad_text"),
    "a file name in Latin-1 that is missing": ({"media": ["caf\udce9.jpg"]}, InvalidPost, "no such file"),
    "an address with a NUL": ({"media": ["https://example.com/\x00.jpg"]}, InvalidPost, "bad_text"),
    "an address with a lone surrogate": ({"media": ["https://example.com/\udce9.jpg"]}, InvalidPost, "bad_text"),
    "text that is a number": ({"text": 5}, Refused, "int"),
    "text that is a mapping": ({"text": {"a": 1}}, Refused, "dict"),
    "a thread of numbers": ({"text": [5, 6]}, Refused, "int"),
    "a thread with a number": ({"text": ["a", 6]}, InvalidPost, "thread"),
    "a thread of nothing": ({"text": []}, Refused, "empty"),
    "a thread with a NUL": ({"text": ["a", "b\x00"]}, InvalidPost, "bad_text"),
    "options that are a list": ({"options": [1]}, Refused, "options must be"),
    "options that are a number": ({"options": 5}, Refused, "options must be"),
    "options that are text": ({"options": "fake"}, Refused, "options must be"),
    "options of a number": ({"options": {5: {}}}, Refused, "5"),
    "options with a NUL": ({"options": {"fake": {"colour": "a\x00"}}}, InvalidPost, "bad_text"),
    "options that are no number": ({"options": {"fake": {"must_be_short": float("nan")}}}, Refused, "JSON"),
    "options that hold themselves": ({"options": {"fake": Loop()}}, Refused, "JSON"),
    "options that go too deep": ({"options": {"fake": {"colour": nested(100_000)}}}, Refused, "JSON"),
    "options that are fairly deep": ({"options": {"fake": {"colour": nested(600)}}}, Refused, ""),
    "post options that are none": ({"text": ["a", "b"], "options": {"post": 5}}, Refused, ""),
}
ONLY_SCHEDULED = {
    "nobody": ({"to": None}, Refused, "to must be"),
    "a number": ({"to": 5}, Refused, "to must be"),
    "a mapping": ({"to": {"fake:acme": 1}}, Refused, "to must be"),
    "a number among accounts": ({"to": [5]}, Refused, "int"),
    "an account with a NUL": ({"to": ["fake:a\x00"]}, UnknownAccount, "cannot be stored"),
    "an account with a lone surrogate": ({"to": ["fake:\udcff"]}, UnknownAccount, "cannot be stored"),
    "a key that is a number": ({"idempotency_key": 5}, Refused, "int"),
    "a key with a NUL": ({"idempotency_key": "a\x00"}, Refused, "cannot be stored"),
    "a key with a lone surrogate": ({"idempotency_key": "\udcff"}, Refused, "cannot be stored"),
    "a key that is far too long": ({"idempotency_key": "k" * 210}, Refused, "10 more"),
    "a zone that is a number": ({"at": "2031-05-04T18:00", "tz": 5}, InvalidTime, "int"),
    "a zone that says nothing": ({"at": "2031-05-04T18:00", "tz": tzinfo()}, InvalidTime, "tz"),
    "now in a zone that is none": ({"at": "now", "tz": "Nonsense"}, InvalidTime, "Nonsense"),
    "an offset with a zone that is none": ({"at": SOON, "tz": "Nonsense"}, InvalidTime, "Nonsense"),
    "media that is nothing": ({"media": None}, Refused, "media must be"),
    "text that is nothing": ({"text": None}, Refused, "NoneType"),
    "a session that is none": ({"session": 5}, Refused, "session"),
}
CONTENT = {"text", "media", "options"}


def prepared(given, folder):
    """The arguments, with the names of files in ``folder``."""

    def named(one):
        if isinstance(one, Media):
            return Media(named(one.source), one.alt)
        return one.replace("{tmp}", str(folder)) if isinstance(one, str) else one

    media = given.get("media")
    return {**given, "media": [named(one) for one in media]} if isinstance(media, list) else dict(given)


@pytest.mark.parametrize("change", (REFUSED | ONLY_SCHEDULED).values(), ids=REFUSED | ONLY_SCHEDULED)
def test_what_is_refused_leaves_nothing_stored(acme, database, wrong_files, change):
    given, error, words = change
    arguments = {"text": "Hello", "to": "fake:acme", "at": SOON, **prepared(given, wrong_files)}
    before = database.counts()
    with pytest.raises(error, match="(?s).*" + words) as refused:
        schedule(arguments.pop("text"), **arguments)
    assert database.counts() == before
    str(refused.value).encode()


EDITED = {name: change for name, change in REFUSED.items() if change[0].keys() <= CONTENT}


@pytest.mark.parametrize("change", EDITED.values(), ids=EDITED)
def test_what_schedule_refuses_edit_refuses_and_changes_nothing(acme, database, wrong_files, change):
    given, error, words = change
    post = schedule("Hello", to="fake:acme", at=SOON)
    before = database.counts()
    with pytest.raises(error, match="(?s).*" + words) as refused:
        edit(post, **prepared(given, wrong_files))
    assert database.counts() == before
    assert get(post) == post
    str(refused.value).encode()


def test_one_file_may_be_given_alone(acme, pictures, database):
    for media in (str(pictures["png"]), pictures["png"], Media(pictures["png"])):
        number = schedule("Hello", to="fake:acme", at=SOON, media=media).scheduled[0].id
        assert edit(number, media=media).done
    assert database.one("SELECT count(*) FROM scheduled_post_media") == 3


def test_a_file_whose_name_is_no_utf_8_is_taken_and_named_in_words(acme, pipeline, fake, pictures, tmp_path, database):
    mine = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    mine.write_bytes(pictures["png"].read_bytes())
    number = schedule("Hello", to="fake:acme", at="now", media=[mine], idempotency_key="k").scheduled[0].id
    assert schedule("Hello", to="fake:acme", at="now", media=[str(mine)], idempotency_key="k").scheduled[0].id == number
    pipeline.until_quiet()
    assert database.post(number).status == "published"
    assert fake.visits[-1].media[0].name == "caf\ufffd.png"


def test_accounts_may_come_from_a_generator_and_mean_the_same(acme, database):
    first = schedule("Hello", to=(one for one in ["fake:acme"]), at=SOON, idempotency_key="k")
    assert schedule("Hello", to=["fake:acme"], at=SOON, idempotency_key="k") == first
