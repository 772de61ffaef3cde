"""Tricky files and what becomes of each: one table, judged by a process of its own as in a worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clips
import corpus
import pytest
from PIL import Image

from media import probe as plain
from media import sandbox
from media.errors import MediaRefused
from media.images import Rendered
from media.recipe import DEFAULTS, Options, plan
from media.rules import MediaRule, rule, violations
from media.sandbox import Limits

ARCHIVE = b"PK\3\4 secret.txt, which the picture must not carry"
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"
PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF"
PAD = Options(fit="pad")
HASTE = Limits(3.0, sandbox.VIDEO_MEMORY)


def quarters(mode: str = "RGB", size: tuple[int, int] = (320, 240)) -> Image.Image:
    """White, with red at the top left: turned in whatever way, it shows how."""
    image = Image.new("RGB", size, "white")
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
    return image.convert(mode)


def glass() -> Image.Image:
    """A palette with one colour that is not there."""
    image = quarters().convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    image.info["transparency"] = image.getpixel((300, 200))
    return image


Make = Callable[[Path], bytes | Path]


@dataclass(frozen=True)
class Case:
    """A file, the placement it is meant for, and the verdict."""

    name: str
    """As the author calls it; often a lie."""
    make: Make
    """Its bytes, or it writes the file that it is given the path of."""
    verdict: str | tuple[str, ...]
    """The code of the refusal, or the names of what is done; () where it stays byte for byte."""
    to: str = "x:post"
    options: Options = DEFAULTS
    size: tuple[int, int] | None = None
    """Of the rendition."""
    lasts: float | None = None
    """How long the rendition plays."""
    red: str = "top left"
    """Where the rendition of ``quarters`` is red; empty: another picture."""
    limits: Limits | None = None
    slow: bool = False


def case(name: str, make: Make, verdict: str | tuple[str, ...], to: str = "x:post", **more: Any) -> Any:
    """A row. Videos and other pictures than ``quarters`` name no place of red."""
    more.setdefault("red", "")
    one = Case(name, make, verdict, to, **more)
    return pytest.param(one, id=name, marks=[pytest.mark.slow] if one.slow else [])


def film(**given: Any) -> Make:
    return lambda path: clips.video(path, **given)


def film_with(more: Callable[[bytes], bytes], **given: Any) -> Make:
    """A film after somebody changed its bytes."""
    return lambda path: corpus.written(path.parent, path.name, more(clips.video(path, **given).read_bytes()))


def pic(kind: str, image: Callable[[], Image.Image] = quarters, **options: Any) -> Callable[[Path], bytes]:
    return lambda _path: corpus.encoded(image(), kind, **options)


# fmt: off
TABLE = [
    # --- No picture, whatever the name says -----------------------------------------------------------------
    case("empty.jpg", lambda _: b"", "empty"),
    case("page.jpg", lambda _: HTML, "not_media"),
    case("page-with-a-gif-head.gif", lambda _: b"GIF89a" + HTML, "corrupt"),
    case("drawing.svg", lambda _: SVG, "unsupported"),
    case("drawing.png", lambda _: b"\xef\xbb\xbf\n<!-- a drawing -->" + SVG, "unsupported"),
    case("leaflet.jpg", lambda _: PDF, "not_media"),
    case("program.jpg", lambda _: b"%!PS-Adobe-3.0\n(/etc/passwd) run\n", "not_media"),
    case("playlist.mp4", lambda _: PLAYLIST, "not_media"),
    case("list-of-files.mp4", lambda _: CONCAT, "not_media"),
    case("archive.png", lambda _: ARCHIVE + bytes(60), "not_media"),
    case("noise.jpg", lambda _: b"\x00\x81\x02\xfd" * 100, "not_media"),
    # --- Damaged --------------------------------------------------------------------------------------------
    *(case(f"half.{kind.lower()}", lambda _, kind=kind: pic(kind)(_)[:-600], "truncated")
      for kind in ("JPEG", "PNG", "GIF")),
    case("half.webp", lambda _: pic("WEBP", lambda: corpus.noise(90, 90))(_)[:-600], "truncated"),
    case("half.heic", lambda _: corpus.heic(corpus.noise(90, 90))[:-900], "corrupt"),
    case("half.mp4", lambda path: corpus.cut(film(options={"movflags": "faststart"})(path), 900), "truncated"),
    *(case(f"half.{kind}", film_with(lambda data: data[: len(data) * 2 // 3], form=form, codec=codec, seconds=3),
           "truncated") for kind, form, codec in [("mkv", "matroska", "libx264"), ("webm", "webm", "libvpx-vp9")]),
    case("half-a-recording.webm", film_with(lambda data: corpus.endless_segment(data[: len(data) * 2 // 3]),
         form="webm", codec="libvpx-vp9", seconds=3), "truncated"),
    case("bent.png", lambda _: corpus.bent(pic("PNG", lambda: corpus.noise(90, 90))(_)), "corrupt"),
    # --- Meant to harm --------------------------------------------------------------------------------------
    case("bomb.png", lambda _: corpus.huge_png(60_000, 60_000), "bomb"),
    case("bomb.gif", lambda _: b"GIF89a\xff\xff\xff\xff" + pic("GIF")(_)[10:], "bomb"),
    case("bomb-in-a-note.png", lambda _: corpus.text_bomb(), "corrupt"),
    case("line.png", pic("PNG", lambda: Image.new("1", (100_000, 1))), "ratio", "bluesky:post"),
    case("line-padded.png", pic("PNG", lambda: Image.new("1", (100_000, 1))), ("downscale", "pad"), "bluesky:post",
         options=PAD, size=(8192, 82)),
    case("longer-line.png", lambda _: corpus.huge_png(2_000_000, 1), "bomb"),
    case("flicker.gif", lambda _: corpus.many_frames_gif(10_000), "too_many_frames"),
    case("flicker.webp", lambda _: corpus.many_frames_webp(10_000), "too_many_frames"),
    case("flicker.png", lambda _: corpus.many_frames_png(10_000), "too_many_frames"),
    case("endless.tiff", lambda _: corpus.endless_tiff(), ("convert",)),
    case("endless.mp4", clips.endless, "too_slow", limits=HASTE),
    case("more-pictures-than-bytes.mp4", lambda path: clips.endless(path, count=50_000_000, filled=False), "bomb"),
    # --- Something glued to it, or in it --------------------------------------------------------------------
    *(case(f"archive-behind.{kind.lower()}", lambda _, kind=kind: pic(kind)(_) + ARCHIVE, ("strip",), red="top left")
      for kind in ("JPEG", "PNG", "WEBP")),
    case("archive-behind.gif", lambda _: corpus.animation(3) + ARCHIVE, ("strip",)),
    case("archive-behind.heic", lambda _: corpus.heic(quarters()) + ARCHIVE, ("convert",), red="top left"),
    case("archive-behind.mp4", lambda path: corpus.with_more(film()(path), ARCHIVE), ("strip",)),
    *(case(f"archive-behind.{kind}", film_with(lambda data: data + ARCHIVE, form="webm", codec="libvpx-vp9"), done, to)
      for kind, to, done in [("webm", "mastodon:post", ("remux", "strip")), ("to-x.webm", "x:post", ("codec", "remux",
      "strip"))]),
    case("archive-behind-a-recording.webm", film_with(lambda data: corpus.endless_segment(data) + ARCHIVE, form="webm",
         codec="libvpx-vp9"), ("remux", "strip"), "mastodon:post"),
    *(case(f"archive-in-a-box-of-{name.decode()}.mp4", film_with(lambda data, name=name: data + corpus.box(name,
           ARCHIVE)), ("strip",)) for name in (b"free", b"mdat", b"uuid", b"meta")),
    case("filled-up.mp4", film_with(lambda data: data + corpus.box(b"free", bytes(4_000)) + bytes(700)), ()),
    case("edited.mp4", film_with(lambda data: data + corpus.xmp_box()), ("strip",)),
    case("archive-before-the-end.jpg", lambda _: corpus.before_the_end(pic("JPEG")(_), ARCHIVE), ("redraw", "strip"),
         red="top left"),
    case("anything-before-the-end.jpg", lambda _: corpus.before_the_end(pic("JPEG")(_), bytes(range(255)) * 8),
         ("redraw", "strip"), red="top left"),
    case("archive-in-a-profile.jpg", pic("JPEG", icc_profile=corpus.srgb_profile() + ARCHIVE), ("redraw", "strip"),
         red="top left"),
    case("archive-in-a-profile.png", pic("PNG", icc_profile=corpus.srgb_profile() + ARCHIVE), ("redraw", "strip"),
         red="top left"),
    case("archive-in-a-profile.webp", pic("WEBP", icc_profile=corpus.srgb_profile() + ARCHIVE), ("redraw", "strip"),
         red="top left"),
    case("archive-behind-the-pixels.png", lambda _: corpus.with_chunk(pic("PNG")(_), b"IDAT", ARCHIVE),
         ("redraw", "strip"), red="top left"),
    case("more-rows-than-the-picture-has.png", lambda _: corpus.more_rows(ARCHIVE), ("redraw", "strip")),
    *(case(f"archive-in-a-{name.decode().strip()}-chunk.webp", lambda _, name=name: corpus.with_riff_chunk(
           pic("WEBP", lambda: quarters("RGBA"))(_), name, ARCHIVE), ("strip",), red="top left")
      for name in (b"ALPH", b"VP8 ", b"ICCP", b"XYZ ")),
    *(case(f"archive-in-a-{number}-block.gif", lambda _, head=head: corpus.animation(3)[:-1] + head
           + bytes([len(ARCHIVE)]) + ARCHIVE + b"\0;", ("strip",)) for number, head in enumerate([
        b"\x21\xff\x0bNETSCAPE2.0", b"\x21\xff\x0bNETSCAPE2.0\x03\1\0\0", b"\x21\xff\x0bICCRGBG1012", b"\x21\xf9",
        b"\x21\xf9\x04\0\0\0\0", b"\x21\x01"])),
    case("taken-at-home.jpg", pic("JPEG", exif=corpus.exif()), ("strip",), red="top left"),
    # --- Pictures as cameras, telephones and programs make them ------------------------------------------------
    case("plain.jpg", pic("JPEG", quality=95), (), red="top left"),
    case("a-png-named.jpg", pic("PNG"), (), red="top left"),
    case("sideways.jpg", pic("JPEG", exif=corpus.exif(orientation=6, gps=False)), ("rotate",), size=(240, 320),
         red="top right"),
    case("telephone.heic", lambda _: corpus.heic(quarters(), boxes=True, tag=6), ("convert",), size=(240, 320),
         red="top right"),
    case("turned-by-boxes.heic", lambda _: corpus.heic(quarters(), boxes=True), ("convert",), size=(240, 320),
         red="top right"),
    case("turned-by-exif-alone.heic", lambda _: corpus.heic(quarters(), tag=6), ("convert",), size=(320, 240),
         red="top left"),
    case("picture.avif", pic("AVIF", quality=90), ("convert",), red="top left"),
    case("sideways.avif", pic("AVIF", quality=90, exif=corpus.exif(orientation=6)), ("rotate", "convert"),
         size=(240, 320), red="top right"),
    case("scan.tiff", pic("TIFF"), ("convert",), red="top left"),
    case("sideways.tiff", pic("TIFF", exif=corpus.exif(orientation=6)), ("convert",), size=(240, 320), red="top right"),
    case("old.bmp", pic("BMP"), ("convert",), red="top left"),
    case("print.jpg", pic("JPEG", lambda: quarters("CMYK"), quality=95), ("srgb",), red="top left"),
    case("wide-colours.jpg", pic("JPEG", lambda: Image.new("RGB", (90, 90), (40, 200, 40)), quality=95,
         icc_profile=corpus.wide_profile()), ("srgb",), red="top left"),
    case("sixteen-bits.png", pic("PNG", lambda: Image.new("I;16", (2000, 1500), 40_000)), ("downscale", "convert"),
         "instagram:feed", size=(1440, 1080)),
    case("palette-with-a-hole.png", pic("PNG", glass), ("convert", "flatten"), "instagram:feed", red="top left"),
    case("see-through.png", pic("PNG", lambda: Image.new("RGBA", (64, 64), (0, 0, 0, 9))), ()),
    # --- Animations ------------------------------------------------------------------------------------------
    case("dance.gif", lambda _: corpus.animation(5), ()),
    case("dance.png", lambda _: corpus.animation(5, "PNG"), ("convert",)),
    case("dance.webp", lambda _: corpus.animation(5, "WEBP"), ("convert",)),
    case("dance-for-a-feed.gif", lambda _: corpus.animation(5), "animated", "instagram:feed"),
    case("first-of-a-dance.webp", lambda _: corpus.animation(5, "WEBP"), ("first_frame", "convert"), "instagram:feed",
         options=Options(animation="first_frame")),
    *(case(f"dance-for-a-reel.{kind.lower()}", lambda _, kind=kind: corpus.animation(5, kind), ("video",),
           "instagram:reel") for kind in ("GIF", "PNG", "WEBP")),
    *(case(f"sticker.{kind.lower()}", lambda _, kind=kind: corpus.sticker(kind), ("convert", "flatten"))
      for kind in ("PNG", "WEBP")),
    *(case(f"sticker-for-a-reel.{kind.lower()}", lambda _, kind=kind: corpus.sticker(kind), ("video", "flatten"),
           "instagram:reel") for kind in ("PNG", "WEBP")),
    # --- Videos ---------------------------------------------------------------------------------------------
    case("plain.mp4", film(sound="aac", options={"movflags": "faststart"}), ()),
    case("index-behind.mp4", film(seconds=3), ("remux",), "instagram:reel"),
    case("silent.mkv", film(form="matroska"), ("remux",)),
    case("no-picture.mp4", clips.only_sound, "no_video"),
    case("sound.mp4", lambda _: b"RIFF\x24\1\0\0WAVEfmt \x10\0\0\0" + bytes(300), "unsupported"),
    case("unsteady.mp4", film(stamps=[n * 40 if n < 15 else 600 + (n - 15) * 120 for n in range(25)]), ("fps",)),
    case("odd-sides.avi", film(form="avi", codec="mpeg4", size=(161, 121)), ("codec", "even", "remux")),
    case("surround.mp4", film(sound="aac", layout="5.1"), ("downmix",)),
    case("hdr-pq.mp4", film(codec="libx265", pixels="yuv420p10le", colour=(9, 16, 9)), ("codec", "sdr")),
    case("hdr-hlg.mp4", film(codec="libx265", pixels="yuv420p10le", colour=(9, 18, 9)), ("codec", "sdr")),
    case("ten-bits.mp4", film(pixels="yuv420p10le"), ("depth",)),
    case("television.mp4", clips.interlaced, ("deinterlace",)),
    case("upright.mp4", clips.turned, (), size=(120, 160)),
    case("web.webm", film(form="webm", codec="libvpx-vp9", sound="libopus", rate=48_000), ("codec", "audio", "remux")),
    case("trimmed.mp4", clips.trimmed, ("edits", "audio"), lasts=2.7),
    case("late-sound.mp4", film(sound="aac", sound_from=0.4), ()),
    case("late-sound.mkv", film(form="matroska", sound="aac", sound_from=1.4, seconds=4), ("sync", "remux"),
         "instagram:reel", lasts=4.0),
    case("late-pictures.mp4", film(sound="aac", pictures_from=0.6, seconds=3), ("sync", "audio", "remux"),
         "instagram:reel", lasts=3.6),
    case("cover-first.mp4", clips.cover_first, ()),
    case("cover-first-and-damaged.mp4", lambda path: clips.cover_first(path, damaged=True), "corrupt"),
    case("hdr-by-its-container.mp4", clips.colours_in_the_container, ("codec", "sdr")),
    case("hdr-for-youtube.mp4", film(codec="libx265", pixels="yuv420p10le", colour=(9, 16, 9), seconds=2, fps=70),
         ("fps", "sdr"), "youtube:video"),
    case("opus-where-only-the-archive-goes.webm", film_with(lambda data: data + ARCHIVE, form="webm", sound="libopus",
         codec="libvpx-vp9", rate=48_000), ("audio", "remux", "strip"), "mastodon:post"),
    case("too-short.mp4", film(), "too_short", "instagram:reel"),
    case("larger-than-8k.avi", lambda path: clips.claiming(path, 12_000, 6_000), "bomb"),
    case("8k.mp4", film(size=(7_680, 4_320), seconds=0.5, fps=4), ("downscale",), size=(1280, 720)),
]
# fmt: on


@dataclass(frozen=True)
class Judged:
    """What became of a case."""

    refused: str
    made: Rendered | None
    seconds: float
    source: bytes


def judge(one: Case, folder: Path) -> Judged:
    """As the worker does it: look, decide, make."""
    path = written(one, folder)
    before = path.read_bytes() if path.stat().st_size < 10_000_000 else b""
    began = time.monotonic()
    try:
        found = sandbox.probe(path, name=one.name, limits=one.limits)
        recipe = plan(found, rule_of(one), options=one.options, name=one.name)
        made = sandbox.normalize(path, recipe, folder / "out", limits=one.limits)
    except MediaRefused as refusal:
        blames = refusal.file == one.name and bool(refusal.message)
        return Judged(refusal.code if blames else "without words", None, time.monotonic() - began, before)
    return Judged("", made, time.monotonic() - began, before)


def written(one: Case, folder: Path) -> Path:
    path = folder / one.name
    folder.mkdir()
    made = one.make(path)
    if isinstance(made, bytes):
        path.write_bytes(made)
    return path


def rule_of(one: Case) -> MediaRule:
    platform, _, placement = one.to.partition(":")
    return rule(platform, placement)


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Judged]]]:
    """All that were asked for, each once, two at a time."""
    asked = [item.callspec.params.get("one") for item in request.session.items
             if hasattr(item, "callspec") and item.path == Path(__file__)]  # fmt: skip
    wanted = {one.name: one for one in asked if one is not None}
    root = tmp_path_factory.mktemp("corpus")
    with ThreadPoolExecutor(2) as pool:
        yield {one.name: pool.submit(judge, one, root / str(number)) for number, one in enumerate(wanted.values())}


@pytest.mark.parametrize("one", TABLE)
def test_verdict(verdicts: dict[str, Future[Judged]], one: Case) -> None:
    judged = verdicts[one.name].result()
    assert judged.seconds < 60
    if isinstance(one.verdict, str):
        assert judged.refused == one.verdict
        return
    assert judged.refused == ""
    assert judged.made is not None
    named = [action.name for action in judged.made.actions if action.name != "quality"]
    assert tuple(named) == one.verdict
    data = judged.made.path.read_bytes()
    assert (data == judged.source) is (one.verdict == ())
    assert ARCHIVE not in data
    assert corpus.GPS_NOTE.encode() not in data
    if one.size is not None:
        assert (judged.made.width, judged.made.height) == one.size
    again = plain.probe(judged.made.path)
    if one.lasts is not None:
        assert again.duration_s == pytest.approx(one.lasts, abs=0.1)
    assert violations(again, rule_of(one), name="") == []
    assert plan(again, rule_of(one), options=one.options).keeps_bytes
    if one.red:
        with Image.open(judged.made.path) as opened:
            assert place_of_red(opened.convert("RGB")) == one.red


def place_of_red(image: Image.Image) -> str:
    for row, y in (("top", 0.2), ("bottom", 0.8)):
        for column, x in (("left", 0.2), ("right", 0.8)):
            red, green, blue = image.getpixel((int(image.width * x), int(image.height * y)))  # type: ignore[misc]  # three bands
            if red > 180 and max(green, blue) < 90:
                return f"{row} {column}"
    return "nowhere"


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak memory of a process")
@pytest.mark.parametrize("one", [row for row in TABLE if not isinstance(row.values[0].verdict, str)])
def test_no_process_took_much_memory(verdicts: dict[str, Future[Judged]], one: Case) -> None:
    made = verdicts[one.name].result().made
    assert made is not None
    assert made.peak_bytes is not None
    # An empty Python takes 13 MB, which shows that it was measured. 8K alone, which is slow, may take more.
    assert 15_000_000 < made.peak_bytes < (sandbox.VIDEO_MEMORY if one.slow else 1_000_000_000)
