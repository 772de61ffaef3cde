"""``schedulerx media inspect``: what it says, in words and as JSON, its exit codes, and what it writes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from media import ffmpeg
from media.errors import MachineFailed
from media.rules import RULES
from scheduler.cli import media as command
from scheduler.cli.main import app

KEYS = {"path", "ok", "reason", "probe", "actions", "output", "size_after", "cover"}


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["media", "inspect", *words], catch_exceptions=False)


def told(*words: str, exit_code: int = 0) -> list[dict[str, Any]]:
    result = run(*words, "--json")
    assert result.exit_code == exit_code, result.output
    found = json.loads(result.stdout)
    assert all(set(one) == KEYS for one in found)
    return list(found)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    path = tmp_path / "wide.png"
    Image.new("RGB", (900, 300), (200, 30, 30)).save(path)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mkv"
    source = ["-f", "lavfi", "-i", "testsrc2=size=160x284:rate=25:duration=3"]
    command = [ffmpeg.program(), "-nostdin", "-loglevel", "error", *source, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_without_a_platform_it_says_what_a_file_is(wide: Path) -> None:
    [one] = told(str(wide))
    assert (one["path"], one["ok"], one["reason"], one["actions"], one["output"]) == (str(wide), True, None, [], None)
    assert (one["probe"]["mime"], one["probe"]["width"], one["probe"]["height"]) == ("image/png", 900, 300)
    assert "image/png, 900x300" in run(str(wide)).stdout


def test_a_video_to_look_around_in_is_called_one(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "degrees" not in run(str(film)).stdout
    found = command.probe_own(film, name=str(film))
    assert found.clip is not None
    round_about = replace(found, clip=replace(found.clip, spherical=True))
    monkeypatch.setattr(command, "probe_own", lambda *_, **_more: round_about)
    assert ", 3.0 s, 360 degrees" in run(str(film)).stdout


@pytest.mark.parametrize("platform", sorted({name for name, _ in RULES}))
def test_every_platform_of_the_table_can_be_asked(wide: Path, platform: str) -> None:
    [one] = json.loads(run(str(wide), "--for", platform, "--fit", "pad", "--json").stdout)
    only_video = platform in {"tiktok", "youtube"}
    assert one["reason"] is None if not only_video else one["reason"]["code"] == "no_pictures"


def test_idea_pins_are_judged_as_pins(wide: Path) -> None:
    [one] = told(str(wide), "--for", "pinterest:idea")
    assert one["ok"]


def test_what_is_done_and_why_and_where_it_went(wide: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    [one] = told(str(wide), "--for", "instagram:feed", "--fit", "pad", "--background", "#00ff00", "--out", str(out))
    assert [action["name"] for action in one["actions"]][:2] == ["pad", "convert"]
    assert all(set(action) == {"name", "why"} and action["why"] for action in one["actions"])
    made = Path(one["output"])
    assert (made.parent, made.stat().st_size) == (out, one["size_after"])
    with Image.open(made) as opened:
        assert (opened.format, opened.size) == ("JPEG", (900, 472))
        red, green, _ = opened.convert("RGB").getpixel((450, 10))  # type: ignore[misc]  # three bands
    assert green > 240
    assert red < 20


def test_a_refusal_has_a_code_and_words_and_exit_code_2(wide: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.jpg"
    page.write_text("<!DOCTYPE html><html></html>")
    found = told(str(wide), str(page), str(tmp_path / "nowhere.png"), "--for", "instagram:feed", exit_code=2)
    assert [(one["ok"], one["reason"]["code"]) for one in found] == [
        (False, "ratio"), (False, "not_media"), (False, "missing"),
    ]  # fmt: skip
    assert found[0]["probe"]["width"] == 900
    assert "pad or crop" in found[0]["reason"]["message"]
    assert "[not_media]" in run(str(page)).stdout


def test_one_bad_file_makes_all_of_it_a_refusal_but_the_others_are_told(wide: Path, tmp_path: Path) -> None:
    found = told(str(wide), str(tmp_path / "nowhere.png"), exit_code=2)
    assert [one["ok"] for one in found] == [True, False]


def test_a_video_and_its_cover(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    [one] = told(str(film), "--for", "instagram:reel", "--out", str(out), "--cover", "1.5")
    assert [action["name"] for action in one["actions"]] == ["remux"]
    assert one["output"].endswith(".mp4")
    with Image.open(one["cover"]) as cover:
        assert (cover.format, cover.size) == ("JPEG", (160, 284))
    assert one["cover"] in run(str(film), "--for", "instagram:reel", "--out", str(out), "--cover", "1.5").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--out", "folder"],
        ["--for", "instagram:reel", "--cover", "1"],
        ["--for", "nobody"],
        ["--for", "instagram:billboard"],
        ["--for", "instagram", "--fit", "squeeze"],
        ["--background", "white"],
    ],
)
def test_wrong_usage(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(str(wide), *words, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["ok"] is False
    assert not (tmp_path / "folder").exists()


def test_where_this_machine_is_at_fault_it_is_no_refusal(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MachineFailed("the disk is full")

    monkeypatch.setattr(command, "probe_own", fails)
    [one] = told(str(wide), exit_code=1)
    assert one["reason"] == {"code": "machine_failed", "message": "the disk is full"}
