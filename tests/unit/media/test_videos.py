"""Videos: what they are found to be, what is made of them, and that it satisfies the rule when probed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import clips
import corpus
import pytest
from PIL import Image

from media.boxes import read
from media.errors import MediaRefused
from media.images import Rendered, normalize
from media.probe import Probe, probe
from media.recipe import Options, Recipe, plan, poster
from media.rules import RULES, MediaRule, violations

REEL, TOOT, SHORT = RULES["instagram", "reel"], RULES["mastodon", "post"], RULES["youtube", "short"]
assert REEL.video is not None
# Tests make seconds, not minutes: the least duration of a reel would cost each of them two.
ONE = replace(REEL, video=replace(REEL.video, min_duration_s=0.5))


def made(source: Path, rule: MediaRule, folder: Path, **options: str) -> tuple[Rendered, Probe, list[str]]:
    """The rendition, after checking everything that holds for each."""
    before = source.read_bytes()
    chosen = Options(**options)  # type: ignore[arg-type]  # field names
    recipe = Recipe.from_json(plan(probe(source), rule, options=chosen).as_json())
    rendered = normalize(source, recipe, folder / "out")
    assert source.read_bytes() == before
    found = probe(rendered.path)
    assert (rendered.sha256, rendered.kind, rendered.duration_s) == (found.sha256, found.kind, found.duration_s)
    assert violations(found, rule, name="") == []
    assert plan(found, rule, options=chosen).keeps_bytes
    assert normalize(source, recipe, folder / "again").sha256 == rendered.sha256
    assert found.private == ()
    return rendered, found, [action.name for action in recipe.actions]


def test_what_is_known_of_a_video(tmp_path: Path) -> None:
    found = probe(clips.video(tmp_path / "holiday.txt", sound="aac", metadata={"copyright": "(c) Ann"}))
    assert (found.kind, found.format, found.mime, found.width, found.height) == ("video", "MP4", "video/mp4", 160, 120)
    assert found.clip is not None
    clip = found.clip
    assert (clip.codec, clip.pixel_format, clip.fps, clip.variable, clip.duration_s) == (
        "h264", "yuv420p", 25.0, False, 1.0,
    )  # fmt: skip
    assert (clip.audio_codec, clip.audio_channels, clip.audio_rate, clip.copyright) == ("aac", 2, 44_100, "(c) Ann")
    assert not clip.index_first
    assert Probe.from_json(found.as_json()) == found


@pytest.mark.parametrize(
    ("given", "rule", "actions"),
    [
        ({"sound": "aac"}, TOOT, []),
        ({"sound": "aac"}, ONE, ["remux"]),
        ({"form": "matroska"}, ONE, ["remux"]),
        ({"form": "mpegts"}, ONE, ["remux"]),
        ({"form": "webm", "codec": "libvpx-vp9", "sound": "libopus", "rate": 48_000}, TOOT, []),
        ({"form": "webm", "codec": "libvpx-vp9"}, ONE, ["codec", "remux"]),
        ({"form": "avi", "codec": "mpeg4", "size": (161, 121)}, ONE, ["codec", "even", "remux"]),
        ({"sound": "aac", "layout": "5.1"}, ONE, ["downmix", "remux"]),
        ({"codec": "libx265", "pixels": "yuv420p10le", "colour": (9, 16, 9)}, ONE, ["sdr", "remux"]),
        ({"codec": "libx265"}, ONE, ["remux"]),
        ({"pixels": "yuv444p"}, ONE, ["depth", "remux"]),
        ({"fps": 15}, ONE, ["fps", "remux"]),
        ({"stamps": [n * 40 if n < 15 else 600 + (n - 15) * 120 for n in range(25)]}, ONE, ["fps", "remux"]),
        ({"shape": (4, 3)}, ONE, ["square", "remux"]),
    ],
    ids=str,
)
def test_each_becomes_what_the_platform_takes(
    tmp_path: Path, given: dict[str, object], rule: MediaRule, actions: list[str]
) -> None:
    source = clips.video(tmp_path / "source", **given)  # type: ignore[arg-type]  # its own parameters
    rendered, found, done = made(source, rule, tmp_path)
    assert done == actions
    if not actions:
        assert rendered.path.read_bytes() == source.read_bytes()
        return
    assert found.clip is not None
    assert (found.mime, found.clip.index_first, found.clip.edit_list) == ("video/mp4", True, False)
    assert found.width % 2 == found.height % 2 == 0
    assert abs(found.clip.duration_s - (probe(source).duration_s or 0)) < 0.15
    assert found.clip.audio_channels <= 2
    assert not found.clip.hdr


def test_place_goes_and_rights_stay(tmp_path: Path) -> None:
    source = clips.video(
        tmp_path / "source",
        metadata={"location": "+52.5+013.4/", "copyright": "(c) Ann"},
        options={"movflags": "use_metadata_tags"},
    )
    assert "gps" in probe(source).private
    rendered, found, _ = made(source, TOOT, tmp_path)
    assert b"+52.5" not in rendered.path.read_bytes()
    assert found.clip is not None
    assert found.clip.copyright == "(c) Ann"


def test_an_archive_behind_the_video_is_left_behind(tmp_path: Path) -> None:
    source = clips.video(tmp_path / "source")
    source.write_bytes(source.read_bytes() + b"PK\3\4" + b"secret" * 50)
    assert probe(source).private == ("trailing",)
    rendered, _, _ = made(source, TOOT, tmp_path)
    assert b"secret" not in rendered.path.read_bytes()


def test_ratio_only_by_wish(tmp_path: Path) -> None:
    reel = RULES["facebook", "reel"]
    assert reel.video is not None
    small = replace(reel, video=replace(reel.video, min_duration_s=0.5, min_width=50, min_height=50))
    source = clips.video(tmp_path / "source", size=(320, 180))
    with pytest.raises(MediaRefused) as caught:
        plan(probe(source), small)
    assert caught.value.code == "ratio"
    _, padded, _ = made(source, small, tmp_path, fit="pad")
    assert padded.width == 320
    assert 0.555 < padded.width / padded.height < 0.575
    _, cropped, _ = made(source, small, tmp_path, fit="crop")
    assert abs(cropped.width / cropped.height - 9 / 16) < 0.01


def test_bytes_are_kept_by_fewer_bits_then_by_a_smaller_size_then_refused(tmp_path: Path) -> None:
    assert TOOT.video is not None
    source = clips.video(tmp_path / "source", size=(640, 480))
    most = source.stat().st_size * 2 // 3
    tight = replace(TOOT, video=replace(TOOT.video, max_bytes=most))
    rendered, _, done = made(source, tight, tmp_path)
    assert done[0] == "compress"
    assert rendered.size <= most
    long = replace(probe(source), duration_s=600.0, size=90_000_000)
    recipe = plan(long, replace(TOOT, video=replace(TOOT.video, max_bytes=3_500_000)))
    assert [action.name for action in recipe.actions] == ["compress", "downscale"]
    with pytest.raises(MediaRefused) as caught:
        plan(long, tight)
    assert (caught.value.code, "worth seeing" in caught.value.message) == ("cannot_fit", True)


def test_refusals(tmp_path: Path) -> None:
    source = clips.video(tmp_path / "source", seconds=2)
    data = source.read_bytes()
    cases = {
        "no_video": clips.only_sound(tmp_path / "sound").read_bytes(),
        "corrupt": data[: len(data) - 900],
        "not_media": b"<!DOCTYPE html><html><body>a film</body></html>",
    }
    for code, content in cases.items():
        with pytest.raises(MediaRefused) as caught:
            probe(corpus.written(tmp_path, "film.mp4", content))
        assert caught.value.code in {code, "truncated"}
    found = probe(source)
    for rule, code in [(REEL, "too_short"), (RULES["tiktok", "photo"], "no_videos")]:
        assert [one.code for one in violations(found, rule, name="a")] == [code]
    assert [one.code for one in violations(replace(found, duration_s=7_000.0), REEL, name="a")] == ["too_long"]


def test_damage_in_the_middle_is_found_when_the_rendition_is_made(tmp_path: Path) -> None:
    source = clips.video(tmp_path / "source", seconds=3, form="matroska")
    data = bytearray(source.read_bytes())
    middle = len(data) * 3 // 4
    data[middle : middle + 400] = bytes(400)
    source.write_bytes(data)
    with pytest.raises(MediaRefused) as caught:
        normalize(source, plan(probe(source), ONE), tmp_path / "out")
    assert caught.value.code in {"corrupt", "truncated"}
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_become_videos_where_only_those_play(tmp_path: Path, kind: str) -> None:
    source = corpus.written(tmp_path, "source", corpus.animation(5, kind))
    assert probe(source).duration_s == pytest.approx(0.25)
    _, found, done = made(source, REEL, tmp_path)
    assert done[0] == "video"
    # Shown again and again until a reel is long enough.
    assert found.duration_s == pytest.approx(3.0, abs=0.1)
    assert found.clip is not None
    assert not found.clip.audio_codec


def test_animations_elsewhere(tmp_path: Path) -> None:
    for kind in ("PNG", "WEBP"):
        source = corpus.written(tmp_path, "source", corpus.animation(5, kind))
        rendered = normalize(source, plan(probe(source), RULES["x", "post"]), tmp_path / "out")
        assert (rendered.mime, rendered.kind, probe(rendered.path).frames) == ("image/gif", "gif", 5)
        feed = RULES["instagram", "feed"]
        still = plan(probe(source), feed, options=Options(fit="pad", animation="first_frame"))
        with pytest.raises(MediaRefused):
            plan(probe(source), RULES["pinterest", "pin"])
        assert "first_frame" in [action.name for action in still.actions]


def test_a_cover_out_of_a_video(tmp_path: Path) -> None:
    source = clips.video(tmp_path / "source")
    first = normalize(source, poster(REEL), tmp_path / "out")
    last = normalize(source, poster(REEL, at_s=99.0), tmp_path / "out")
    assert (first.mime, first.width, first.height, first.kind) == ("image/jpeg", 160, 120, "image")
    assert first.sha256 != last.sha256


def test_a_cover_shows_its_moment_upright_and_in_ordinary_colours(tmp_path: Path) -> None:
    film = clips.video(tmp_path / "film", seconds=2, size=(320, 240))
    # A yellow square wanders from left to right.
    for at_s, share in [(0.0, 0.0), (1.0, 0.5), (1.9, 0.95)]:
        with Image.open(normalize(film, poster(REEL, at_s=at_s), tmp_path / "out").path) as cover:
            found = [x for x in range(cover.width) if is_yellow(cover.getpixel((x, 90)))]
        assert abs(min(found) / (320 - 60) - share) < 0.05
    upright = normalize(clips.turned(tmp_path / "upright"), poster(REEL), tmp_path / "out")
    assert (upright.width, upright.height) == (120, 160)
    bright = clips.video(tmp_path / "hdr", codec="libx265", pixels="yuv420p10le", colour=(9, 16, 9))
    made_of_hdr = normalize(bright, poster(REEL), tmp_path / "out")
    assert (made_of_hdr.mime, probe(made_of_hdr.path).mode) == ("image/jpeg", "RGB")


def test_a_cover_keeps_within_its_limits(tmp_path: Path) -> None:
    film = clips.video(tmp_path / "film", size=(640, 480))
    small = replace(REEL, video=replace(REEL.video, max_width=200, max_height=100))  # type: ignore[arg-type, type-var]  # has one
    cover = normalize(film, poster(small, max_bytes=4_000), tmp_path / "out")
    assert max(cover.width, cover.height) <= 200
    assert cover.size <= 4_000
    assert "quality" in [action.name for action in cover.actions]
    found = probe(cover.path)
    assert (found.private, found.orientation) == ((), 1)


def is_yellow(pixel: object) -> bool:
    assert isinstance(pixel, tuple)
    red, green, blue = pixel
    return red > 200 and green > 150 and blue < 90


def test_boxes_never_raise(tmp_path: Path) -> None:
    data = clips.video(tmp_path / "source").read_bytes()
    for cut in range(0, len(data), max(1, len(data) // 150)):
        read(data[:cut])
        read(data[:cut] + b"\xff" * 40 + data[cut + 40 :])
