"""What of a video is seen and heard, and when: edit lists, tracks that begin late, colours, what hides in boxes."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import clips
import corpus
import pytest
from PIL import Image
from test_videos import ONE, REEL, TOOT, is_yellow, made

from media import boxes, ebml, transcode
from media.errors import MediaRefused
from media.images import normalize
from media.probe import Probe, probe
from media.recipe import plan, poster
from media.rules import RULES, MediaRule
from media.video_plan import APART_S, VideoPlan

POST, TUBE = RULES["x", "post"], RULES["youtube", "video"]


def names(found: Probe, rule: MediaRule) -> list[str]:
    return [action.name for action in plan(found, rule).actions]


@pytest.mark.parametrize("rule", [ONE, TOOT], ids=["reel", "toot"])
@pytest.mark.parametrize("fragments_s", [0.0, 0.7, 10.0])
def test_what_was_cut_away_is_not_published(tmp_path: Path, rule: MediaRule, fragments_s: float) -> None:
    source = clips.trimmed(tmp_path / "source", fragments_s=fragments_s)
    found = probe(source)
    assert found.clip is not None
    assert (found.clip.trimmed, found.clip.sound_trimmed) == (True, True)
    assert found.duration_s == pytest.approx(2.7, abs=0.05)
    rendered, again, done = made(source, rule, tmp_path)
    assert done[0] == "edits"
    assert again.duration_s == pytest.approx(2.7, abs=0.05)
    assert rendered.size < source.stat().st_size
    # The square had come so far when the cut begins.
    for film in (rendered.path, source):
        cover = normalize(film, poster(REEL), tmp_path / "out")
        with Image.open(cover.path) as first:
            left = min(x for x in range(first.width) if is_yellow(first.getpixel((x, 45))))
        assert left / (160 - 30) == pytest.approx(3.3 / 6, abs=0.05)


def test_fragments_alone_cost_nothing(tmp_path: Path) -> None:
    source = clips.trimmed(tmp_path / "source", since=0.0, fragments_s=0.7)
    assert b"elst" in source.read_bytes()
    found = probe(source)
    assert found.clip is not None
    assert (found.clip.trimmed, found.clip.sound_trimmed, found.clip.hidden_s) == (False, False, 0.0)
    assert names(found, TOOT) == []


def test_an_edit_list_that_hides_only_a_delay_costs_nothing(tmp_path: Path) -> None:
    plain = clips.video(tmp_path / "plain", sound="aac")
    found = probe(plain)
    assert found.clip is not None
    assert (found.clip.edit_list, found.clip.trimmed, found.clip.sound_trimmed) == (True, False, False)
    # Pictures that need later ones: their edit list skips the delay.
    reordered = clips.by_hand(tmp_path / "b", "-i", str(plain), "-c:v", "libx264", "-bf", "2", "-f", "mp4")
    again = probe(reordered).clip
    assert again is not None
    assert (again.edit_list, again.trimmed, again.fps, again.duration_s) == (True, False, 25.0, 1.0)


def test_sound_alone_that_was_cut_is_coded_alone(tmp_path: Path) -> None:
    plain = clips.video(tmp_path / "plain", sound="aac", seconds=2)
    found = probe(plain)
    assert found.clip is not None
    cut = replace(found, clip=replace(found.clip, sound_trimmed=True))
    recipe = plan(cut, TOOT)
    assert [action.name for action in recipe.actions] == ["edits"]
    assert recipe.video is not None
    assert (recipe.video.copy_video, recipe.video.audio) == (True, "aac")


@pytest.mark.parametrize("rule", [ONE, POST, TOOT], ids=["reel", "x", "toot"])
@pytest.mark.parametrize(
    "given",
    [
        {"sound_from": 0.3},
        {"pictures_from": 0.4},
        {"form": "matroska", "sound_from": 0.3},
        {"form": "mpegts", "pictures_from": 0.4},
        {"codec": "mpeg4", "pictures_from": 0.4},
        {"codec": "mpeg4", "sound_from": 0.3},
        {"form": "webm", "codec": "libvpx-vp9", "sound": "libopus", "rate": 48_000, "pictures_from": 0.4},
    ],
    ids=str,
)
def test_sound_and_pictures_stay_together(tmp_path: Path, given: dict[str, Any], rule: MediaRule) -> None:
    source = clips.video(tmp_path / "source", clap_s=0.6, **{"sound": "aac", **given})
    rendered, found, _ = made(source, rule, tmp_path)
    assert abs(clips.clap_apart(rendered.path) - clips.clap_apart(source)) < APART_S
    assert found.duration_s == pytest.approx(probe(source).duration_s, abs=0.05)


def test_what_a_coder_puts_before_the_sound_does_not_make_it_late(tmp_path: Path) -> None:
    # As telephones write it: 2112 samples of nothing, which an edit list hides.
    plain = clips.video(tmp_path / "plain", sound="aac", clap_s=0.6)
    coded = clips.by_hand(tmp_path / "late", "-i", str(plain), "-af", "adelay=1088S:all=1", "-c:v", "copy", "-f", "mp4")
    data = bytearray(coded.read_bytes())
    at = data.rindex(b"elst") + 16
    assert int.from_bytes(data[at : at + 4], "big") == 1024
    data[at : at + 4] = (2112).to_bytes(4, "big")
    source = corpus.written(tmp_path, "source", bytes(data))
    assert abs(clips.clap_apart(source)) < 0.002
    rendered, _, done = made(source, ONE, tmp_path)
    assert done == ["remux"]
    assert abs(clips.clap_apart(rendered.path)) < APART_S


def test_the_right_tracks_are_taken(tmp_path: Path) -> None:
    source = clips.cover_first(tmp_path / "source")
    found = probe(source)
    assert found.clip is not None
    assert (found.clip.video_index, found.clip.audio_index, found.width) == (1, 2, 320)
    _, again, done = made(source, replace(ONE, video=replace(ONE.video, max_width=160, max_height=160)), tmp_path)  # type: ignore[arg-type, type-var]  # has one
    assert "downscale" in done
    assert again.width == 160
    with Image.open(normalize(source, poster(ONE, at_s=1.0), tmp_path / "out").path) as cover:
        assert cover.size == (320, 240)
    broken = clips.cover_first(tmp_path / "broken", damaged=True)
    with pytest.raises(MediaRefused) as caught:
        normalize(broken, plan(probe(broken), TOOT), tmp_path / "out")
    assert caught.value.code == "corrupt"


def test_a_cover_leaves_nothing_beside_the_source(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    film = clips.video(folder / "film")
    before = folder.stat().st_mtime_ns
    normalize(film, poster(ONE), tmp_path / "out")
    assert folder.stat().st_mtime_ns == before


def test_colours_told_by_the_container_alone(tmp_path: Path) -> None:
    source = clips.colours_in_the_container(tmp_path / "source")
    found = probe(source)
    assert found.clip is not None
    assert (found.clip.hdr, found.clip.primaries, found.clip.matrix) == ("pq", 9, 9)
    _, again, done = made(source, ONE, tmp_path)
    assert done[0] == "sdr"
    assert again.clip is not None
    assert (again.clip.hdr, again.clip.primaries) == ("", 1)
    # Where HDR is taken it stays, unless the pictures are coded anew for another reason: then in 8 bits.
    assert names(found, TUBE) == []
    small = replace(TUBE, video=replace(TUBE.video, max_width=100))  # type: ignore[arg-type, type-var]  # has one
    recipe = plan(found, small)
    assert [action.name for action in recipe.actions] == ["downscale", "sdr"]
    _, ordinary, _ = made(source, small, tmp_path)
    assert ordinary.clip is not None
    assert (ordinary.clip.hdr, ordinary.clip.pixel_format) == ("", "yuv420p")


@pytest.mark.parametrize(("name", "newer"), [("old.mp4", False), ("new.mp4", True), ("new.mkv", True)])
def test_a_video_to_look_around_in_stays_one_or_it_is_said(tmp_path: Path, name: str, newer: bool) -> None:
    source = clips.spherical(tmp_path / name, newer=newer)
    found = probe(source)
    assert found.clip is not None
    assert found.clip.spherical
    assert found.private == ()
    rendered, again, done = made(source, ONE, tmp_path)
    assert again.clip is not None
    assert (done, again.clip.spherical) == (["remux"], True)
    assert b"sv3d" in rendered.path.read_bytes()
    small = replace(ONE, video=replace(ONE.video, max_width=160, max_height=160))  # type: ignore[arg-type, type-var]  # has one
    _, flat, done = made(source, small, tmp_path)
    assert flat.clip is not None
    assert (done[:2], flat.clip.spherical) == (["downscale", "spherical"], False)
    # At its own size too.
    slow = replace(ONE, video=replace(ONE.video, max_fps=20.0, min_fps=10.0))  # type: ignore[arg-type, type-var]  # has one
    _, flat, done = made(source, slow, tmp_path)
    assert flat.clip is not None
    assert ("spherical" in done, flat.clip.spherical) == (True, False)


def test_an_ordinary_video_is_none_to_look_around_in(tmp_path: Path) -> None:
    found = probe(clips.video(tmp_path / "plain"))
    assert found.clip is not None
    assert not found.clip.spherical


def test_a_rendition_is_judged_by_its_rule(tmp_path: Path) -> None:
    source = clips.video(tmp_path / "source", sound="aac")
    recipe = plan(probe(source), ONE)
    assert recipe.video is not None
    assert recipe.video.limits is not None
    assert VideoPlan.from_json(recipe.as_json()["video"]) == recipe.video
    for change in ({"max_width": 100}, {"min_duration_s": 2.0}, {"codecs": ("vp9",)}):
        other = replace(recipe.video, limits=replace(recipe.video.limits, **change))  # type: ignore[arg-type]  # field names
        with pytest.raises(MediaRefused) as caught:
            normalize(source, replace(recipe, video=other), tmp_path / "out")
        assert (caught.value.code, "does not fit" in caught.value.message) == ("cannot_fit", True)
    assert not list((tmp_path / "out").glob("*"))


def test_what_repacking_makes_too_large_is_coded(tmp_path: Path) -> None:
    source = clips.video(tmp_path / "source", size=(640, 480), sound="aac", layout="5.1")
    size = source.stat().st_size
    found = probe(source)
    # Known before: the sound alone is coded anew and has more bits than it had.
    assert found.clip is not None
    thin = replace(found, clip=replace(found.clip, audio_bitrate=20_000))
    tight = replace(POST, video=replace(POST.video, max_bytes=size + 2_000))  # type: ignore[arg-type, type-var]  # has one
    assert names(thin, tight) == ["compress", "downmix"]
    # Found out on the way.
    recipe = plan(found, POST)
    assert recipe.video is not None
    assert recipe.video.copy_video
    assert recipe.video.limits is not None
    most = size // 2
    smaller = replace(recipe.video, max_bytes=most, limits=replace(recipe.video.limits, max_bytes=most))
    rendered = normalize(source, replace(recipe, video=smaller), tmp_path / "out")
    assert rendered.size <= most
    again = probe(rendered.path)
    assert again.clip is not None
    assert (again.clip.codec, again.clip.audio_channels) == ("h264", 2)


def test_a_rate_that_varies_becomes_the_nearest_usual_one() -> None:
    found = probe_of(fps=30.2, variable=True)
    recipe = plan(found, ONE)
    assert recipe.video is not None
    assert recipe.video.fps == 30.0
    for fps, made_fps in [(29.6, 30.0), (23.9, 24.0), (33.0, 50.0), (61.0, 60.0)]:
        recipe = plan(probe_of(fps=fps, variable=True), ONE)
        assert recipe.video is not None
        assert recipe.video.fps == made_fps


def probe_of(**given: Any) -> Probe:
    from media.clip import Clip

    facts: dict[str, Any] = {
        "duration_s": 4.0, "codec": "h264", "profile": "High", "pixel_format": "yuv420p", "fps": 25.0,
        "variable": False, "bitrate": 1_000_000, "rotation": 0, "stored_width": 320, "stored_height": 240,
    }  # fmt: skip
    return Probe(
        "video", "MP4", "video/mp4", 500_000, "0" * 64, 320, 240, 1, "yuv420p", None, False, False, 100,
        duration_s=4.0, clip=Clip(**{**facts, **given}),
    )  # fmt: skip


def test_every_change_is_told(tmp_path: Path) -> None:
    sound = {"audio_codec": "opus", "audio_channels": 2, "audio_rate": 48_000}
    web = replace(probe_of(codec="vp9", **sound), format="WEBM", mime="video/webm", private=("other",))
    assert names(web, TOOT) == ["audio", "remux", "strip"]
    assert names(replace(web, private=()), TOOT) == []
    small = replace(TOOT, video=replace(TOOT.video, max_width=160, max_height=160))  # type: ignore[arg-type, type-var]  # has one
    aac = probe_of(**{**sound, "audio_codec": "aac"})
    assert names(aac, small) == ["downscale", "audio"]
    assert names(aac, TOOT) == []


def test_boxes(tmp_path: Path) -> None:
    data = clips.video(tmp_path / "source", sound="aac").read_bytes()
    spherical = bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + b"<rdf:SphericalVideo/>"
    for more, found in [
        (b"", set()),
        (bytes(5), set()),
        (bytes(50), set()),
        (corpus.box(b"free", bytes(9)), set()),
        (corpus.box(b"free", b"secret"), {"trailing"}),
        (corpus.box(b"mdat", b"secret"), {"trailing"}),
        (corpus.box(b"PK\3\4", b"secret"), {"trailing"}),
        (b"secret", {"trailing"}),
        (corpus.xmp_box(), {"trailing", "xmp", "gps"}),
    ]:
        assert boxes.read(data + more).private == found, more
    head = int.from_bytes(data[:4], "big")
    inside = {
        corpus.box(b"uuid", spherical): set(),
        corpus.box(b"free", b"secret"): {"other"},
        corpus.xmp_box(): {"xmp", "gps"},
    }
    for box, found in inside.items():
        # Everything moves, and nobody looks at where the samples are now: only that media are used at all.
        assert boxes.read(data[:head] + box + data[head:]).private - {"trailing"} == found
    index = data.index(b"moov") - 4
    length = int.from_bytes(data[index : index + 4], "big")
    for box, found in inside.items():
        grown = (length + len(box)).to_bytes(4, "big")
        assert boxes.read(data[:index] + grown + data[index + 4 : index + length] + box).private == found


@pytest.mark.parametrize(
    ("edits", "kind", "spliced", "cut"),
    [
        ([(4_000, 0, 1)], b"vide", False, False),
        ([(500, -1, 1), (4_000, 0, 1)], b"vide", False, False),
        ([(1_000, 0, 1), (1_000, 2_000, 1)], b"vide", True, False),
        ([(8_000, 0, 0.5)], b"vide", True, False),
        ([(3_900, 100, 1)], b"soun", False, False),
        ([(3_000, 1_000, 1)], b"soun", False, True),
        ([(3_000, 0, 1)], b"soun", False, True),
        ([(0, 0, 1)], b"soun", False, False),
        # A track of time codes is neither seen nor heard.
        ([(1_000, 0, 1), (1_000, 2_000, 1)], b"tmcd", False, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", [0, 1])
def test_edit_lists(edits: list[tuple[int, int, float]], kind: bytes, spliced: bool, cut: bool, version: int) -> None:
    form = ">QqI" if version else ">IiI"
    entries = b"".join(struct.pack(form, lasts, start, round(rate * 65_536)) for lasts, start, rate in edits)
    header = bytes([version, 0, 0, 0]) + bytes(16 if version else 8) + struct.pack(">I", 1_000)
    header += struct.pack(">Q" if version else ">I", 4_000)
    media = corpus.box(b"mdhd", header) + corpus.box(b"hdlr", bytes(8) + kind)
    listed = corpus.box(b"elst", bytes([version, 0, 0, 0]) + struct.pack(">I", len(edits)) + entries)
    track = corpus.box(b"trak", corpus.box(b"edts", listed) + corpus.box(b"mdia", media))
    found = boxes.read(corpus.box(b"moov", corpus.box(b"mvhd", header) + track))
    assert (found.spliced, found.sound_cut) == (spliced, cut)
    # Cut anywhere, it is read as far as it goes.
    for end in range(len(track)):
        boxes.read(corpus.box(b"moov", corpus.box(b"mvhd", header) + track[:end]))


def test_elements(tmp_path: Path) -> None:
    data = clips.video(tmp_path / "source", form="matroska", seconds=3).read_bytes()
    whole = ebml.read(data)
    assert (whole.complete, whole.private) == (True, set())
    assert whole.lasts_s == pytest.approx(3.0, abs=0.05)
    assert not ebml.read(data[:-1]).complete
    assert ebml.read(data + b"PK").private == {"trailing"}
    assert ebml.read(data + bytes(99)).private == set()
    endless = corpus.endless_segment(data)
    assert (ebml.read(endless).complete, ebml.read(endless).private) == (True, set())
    assert ebml.read(endless + b"PK\3\4secret").private == {"trailing"}
    for cut in range(0, len(data), max(1, len(data) // 150)):
        ebml.read(data[:cut])
        ebml.read(data[:cut] + b"\xff" * 40 + data[cut + 40 :])


def test_a_recording_that_is_shorter_than_it_says_was_cut(tmp_path: Path) -> None:
    for form, codec in [("matroska", "libx264"), ("flv", "libx264")]:
        data = clips.video(tmp_path / "source", form=form, codec=codec, seconds=4, options={"cluster_time_limit": "500"}
                           if form == "matroska" else None).read_bytes()  # fmt: skip
        assert probe(corpus.written(tmp_path, "whole", data)).duration_s == pytest.approx(4.0, abs=0.1)
        if form == "matroska":
            # Cut where a cluster ends, of a file that does not say how long it is in bytes.
            data = corpus.endless_segment(data)
            marks = [at for at in range(len(data)) if data.startswith(b"\x1f\x43\xb6\x75", at)]
            data = data[: marks[len(marks) // 2]]
        else:
            data = data[: len(data) // 2]
        with pytest.raises(MediaRefused) as caught:
            probe(corpus.written(tmp_path, "cut", data))
        assert caught.value.code == "truncated"


def test_what_is_decoded_is_what_was_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only videos"):
        transcode.decode_all(tmp_path / "a", replace(probe_of(), clip=None))
