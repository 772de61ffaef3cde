"""Files to probe, made on the spot: the plain ones, the tricky ones and the hostile ones."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageCms

GPS_NOTE = "taken at home"


def picture(width: int, height: int, mode: str = "RGB", *, seed: int = 7) -> Image.Image:
    """Coarse coloured noise: it compresses, and each pixel differs from most others."""
    source = random.Random(seed)
    small = Image.frombytes("RGB", (8, 8), source.randbytes(192)).resize((width, height))
    return small.convert(mode)


def noise(width: int, height: int, mode: str = "RGB", *, seed: int = 7) -> Image.Image:
    """Noise in every pixel: nothing compresses it."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (width, height), random.Random(seed).randbytes(width * height * bands))


def exif(*, orientation: int | None = None, gps: bool = True, rights: str = "") -> Image.Exif:
    """An EXIF block as a telephone writes it."""
    made = Image.Exif()
    made[0x010F] = "Phone"
    if orientation:
        made[0x0112] = orientation
    if rights:
        made[0x8298] = rights
    if gps:
        made.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 0x1C: GPS_NOTE.encode()})
    return made


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file of format ``kind``."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def animation(frames: int, kind: str = "GIF", size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    """An animated GIF, PNG or WebP whose frames all differ."""
    drawn = [picture(*size, seed=number).convert("P") for number in range(frames)]
    return encoded(drawn[0], kind, save_all=True, append_images=drawn[1:], duration=50, **options)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims to be enormous."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20))
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def many_frames_gif(frames: int) -> bytes:
    """A GIF whose frames are one pixel each."""
    one = encoded(Image.new("P", (1, 1)), "GIF")
    head, frame = one[: one.index(b",")], one[one.index(b",") : -1]
    return head + frame * frames + b";"


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_profile() -> bytes:
    """A profile that is not sRGB: the same one with red and green exchanged, under another name."""
    data = bytearray(srgb_profile())
    count = struct.unpack_from(">I", data, 128)[0]
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    name = "sRGB built-in".encode("utf-16-be")
    at = data.find(name)
    assert at > 0
    data[at : at + len(name)] = "Swap built-in".encode("utf-16-be")
    return bytes(data)


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def heic(image: Image.Image, *, boxes: bool = False, tag: int = 1) -> bytes:
    """A HEIC that says how it is turned by its own boxes (a quarter to the right), by EXIF (``tag``), by both or none.

    :param image: as stored, before anything turns it.
    """
    import pillow_heif

    block = exif(orientation=6 if boxes else 1, gps=False).tobytes()
    made = pillow_heif.from_pillow(image)
    made.info["exif"] = block
    out = io.BytesIO()
    made.save(out, quality=90)
    data = bytearray(out.getvalue())
    # The encoder writes both alike; the tag's value is then set to what was asked for.
    entry = data.index(struct.pack(">HHI", 0x0112, 3, 1))
    struct.pack_into(">H", data, entry + 8, tag)
    assert (b"irot" in data) is boxes
    return bytes(data)


def many_frames_webp(frames: int) -> bytes:
    """A WebP that repeats one frame of a pixel."""
    two = encoded(Image.new("RGB", (1, 1)), "WEBP", save_all=True, append_images=[Image.new("RGB", (1, 1), "red")])
    first = two.index(b"ANMF")
    length = 8 + struct.unpack_from("<I", two, first + 4)[0]
    body = two[8:first] + two[first : first + length] * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def many_frames_png(frames: int) -> bytes:
    """An animated PNG that claims so many frames."""
    data = animation(2, "PNG", (8, 8))
    at = data.index(b"acTL")
    return data[: at - 4] + png_chunk(b"acTL", struct.pack(">II", frames, 0)) + data[at + 16 :]


def text_bomb() -> bytes:
    """A PNG of 60 kB whose note unpacks to 60 MB."""
    data = encoded(Image.new("RGB", (8, 8)), "PNG")
    note = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(60_000_000)))
    return data[:33] + note + data[33:]


def endless_tiff() -> bytes:
    """A TIFF whose last directory leads back to its first."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    return bytes(data)


def cut(path: Path, length: int) -> Path:
    """The file without its last bytes."""
    path.write_bytes(path.read_bytes()[:-length])
    return path


def with_more(path: Path, more: bytes) -> Path:
    """The file with something behind it."""
    path.write_bytes(path.read_bytes() + more)
    return path


def box(name: bytes, body: bytes) -> bytes:
    """A box of an MP4."""
    return struct.pack(">I4s", 8 + len(body), name) + body


XMP = b"<x:xmpmeta><rdf:Description exif:GPSLatitude='52,31.2N' aux:SerialNumber='1' dc:title='%s'/></x:xmpmeta>"


def xmp_box() -> bytes:
    """The box in which programs for editing keep their notes in an MP4."""
    return box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP % GPS_NOTE.encode())


def endless_segment(data: bytes) -> bytes:
    """A Matroska file whose size is unknown, as browsers record it."""
    at = data.index(b"\x18\x53\x80\x67") + 4
    return data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :]


def bent(data: bytes) -> bytes:
    """With one byte in the middle turned over."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def before_the_end(data: bytes, more: bytes) -> bytes:
    """A JPEG with something between its last pixel and its end mark."""
    assert data.endswith(b"\xff\xd9")
    return data[:-2] + more + data[-2:]


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk before its end."""
    at = data.index(b"IEND") - 4
    return data[:at] + png_chunk(name, body) + data[at:]


def more_rows(more: bytes) -> bytes:
    """A PNG whose compressed pixels go on behind the last row."""
    row = b"\0" + bytes(64 * 3)
    pixels = png_chunk(b"IDAT", zlib.compress(row * 64 + more, 0))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")


def with_riff_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A WebP with one more chunk behind the picture."""
    whole = data[8:] + name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def sticker(kind: str) -> bytes:
    """An animation of a red square that moves over nothing, with soft edges."""
    pages = []
    for number in range(4):
        page = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        page.paste((200, 20, 20, 100), (8 * number, 8, 8 * number + 34, 42))
        page.paste((200, 20, 20, 255), (8 * number + 2, 10, 8 * number + 32, 40))
        pages.append(page)
    more = {"disposal": 1, "blend": 0} if kind == "PNG" else {"lossless": True}
    return encoded(pages[0], kind, save_all=True, append_images=pages[1:], duration=100, **more)
