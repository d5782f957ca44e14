"""Makes small picture files of every kind, and asks the reference what pixels they hold.

    python pictures.py --out ../../tests/data/pictures

decode.json: per picture, the size and the SHA-256 of the RGB bytes [height, width, 3] that it must decode to. They are
what transformers' default image loader gives; where that refuses a file or is wrong (`deviation` says how), what Pillow
gives, or the high byte of what the loader gives. The same versions write the same bytes.
"""

import argparse
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import transformers
from PIL import Image, ImageOps
from transformers.image_utils import load_image_as_tensor

transformers.logging.set_verbosity_error()

WIDTH, HEIGHT = 23, 17  # odd, and no multiple of a JPEG block


def drawing(width=WIDTH, height=HEIGHT):
    """Colours that differ everywhere, with hard edges, so that no mirroring or channel order goes unseen."""
    y, x = np.mgrid[0:height, 0:width]
    edge = ((x // 5 + y // 3) % 2) * 60
    return np.stack([x * 190 // width + edge, y * 190 // height + edge, (x + 2 * y) * 3 % 196 + edge], -1).astype(np.uint8)


def saved(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


# --------------------------------------------------------------------------------------------
# PNG and BMP byte by byte: Pillow does not write all of their kinds

def png(samples, depth, colour, before=(), after=(), interlaced=False):
    """samples [h, w, channels]; `before` and `after`: chunks on either side of the pixels."""
    height, width = samples.shape[:2]

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    def rows(part):
        for row in part.reshape(part.shape[0], -1):
            if depth == 16:
                packed = row.astype(">u2").tobytes()
            else:
                bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth:]
                packed = np.packbits(bits.reshape(-1)).tobytes()
            yield b"\0" + packed

    passes = [samples]
    if interlaced:
        adam7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        passes = [samples[y::down, x::right] for y, x, down, right in adam7]
    pixels = b"".join(row for part in passes if part.size for row in rows(part))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(pixels, 9)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def bmp(bits, pixels, palette=b"", masks=b"", top_down=False, core=False):
    """pixels [h, w] (indices or packed colours) of `bits` each."""
    height, width = pixels.shape
    rows = b""
    for row in pixels if top_down else pixels[::-1]:
        if bits < 8:
            packed = np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits:].reshape(-1)).tobytes()
        else:
            packed = row.astype("<u4")[:, None].view(np.uint8).reshape(width, 4)[:, :bits // 8].tobytes()
        rows += packed + bytes(-len(packed) % 4)
    if core:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, 3 if masks else 0,
                             len(rows), 2835, 2835, len(palette) // 4, 0)
    offset = 14 + len(header) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + masks + palette + rows


# --------------------------------------------------------------------------------------------
# The pictures

def jpegs():
    image = Image.fromarray(drawing())
    yield "jpeg-420.jpg", saved(image, "JPEG", quality=80)
    yield "jpeg-422.jpg", saved(image, "JPEG", quality=80, subsampling=1)
    yield "jpeg-444.jpg", saved(image, "JPEG", quality=90, subsampling=0)
    yield "jpeg-progressive.jpg", saved(image, "JPEG", quality=80, progressive=True)
    yield "jpeg-restart.jpg", saved(image, "JPEG", quality=80, restart_marker_blocks=1)
    yield "jpeg-grey.jpg", saved(image.convert("L"), "JPEG", quality=80)
    rgb = drawing().astype(int)
    key = (255 - rgb.max(2)) // 2 + 9
    inks = np.dstack([np.clip(255 - rgb - key[..., None] // 2, 0, 255), key]).astype(np.uint8)
    yield "jpeg-cmyk.jpg", saved(Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes()), "JPEG", quality=90)
    for orientation in range(1, 9):
        yield f"jpeg-exif{orientation}.jpg", saved(image, "JPEG", quality=80, exif=exif(orientation))


def pngs():
    rgb = drawing()
    grey = rgb[..., 1:2]
    alpha = (np.mgrid[0:HEIGHT, 0:WIDTH].sum(0) * 6 % 256).astype(np.uint8)[..., None]
    low = np.random.default_rng(6).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint16)  # low bytes
    table = np.random.default_rng(7).integers(0, 256, (256, 3), dtype=np.uint8)
    yield "png-rgb.png", png(rgb, 8, 2)
    yield "png-rgb-interlaced.png", png(rgb, 8, 2, interlaced=True)
    yield "png-rgba.png", png(np.dstack([rgb, alpha]), 8, 6)
    yield "png-rgb-key.png", png(rgb, 8, 2, [(b"tRNS", struct.pack(">HHH", *map(int, rgb[8, 11])))])
    yield "png-gamma.png", png(rgb, 8, 2, [(b"gAMA", struct.pack(">I", 100000))])
    yield "png-grey-alpha.png", png(np.dstack([grey, alpha]), 8, 4)
    for depth in (1, 2, 4, 8):
        yield f"png-grey{depth}.png", png(grey >> (8 - depth), depth, 0)
        colours = [(b"PLTE", table[:2 ** depth].tobytes())]
        yield f"png-palette{depth}.png", png(grey >> (8 - depth), depth, 3, colours)
    colours = [(b"PLTE", table.tobytes()), (b"tRNS", bytes(range(256)))]
    yield "png-palette-alpha.png", png(grey, 8, 3, colours, interlaced=True)
    for name, colour, samples in (("grey16", 0, grey), ("rgb16", 2, rgb), ("grey-alpha16", 4, np.dstack([grey, alpha])),
                                  ("rgba16", 6, np.dstack([rgb, alpha]))):
        yield f"png-{name}.png", png((samples.astype(np.uint16) << 8) + low[..., :samples.shape[2]], 16, colour)
    yield "png-exif8.png", png(rgb, 8, 2, [(b"eXIf", exif(8)[6:])])
    yield "png-exif5-last.png", png(rgb, 8, 2, after=[(b"eXIf", exif(5)[6:])])


def webps():
    rgb = drawing()
    image = Image.fromarray(rgb)
    alpha = (np.mgrid[0:HEIGHT, 0:WIDTH].sum(0) * 6 % 256).astype(np.uint8)
    transparent = Image.fromarray(np.dstack([rgb, alpha]))
    yield "webp-lossy.webp", saved(image, "WEBP", quality=80)
    yield "webp-lossless.webp", saved(image, "WEBP", lossless=True)
    yield "webp-alpha.webp", saved(transparent, "WEBP", lossless=True, exact=True)
    yield "webp-exif6.webp", saved(image, "WEBP", lossless=True, exif=exif(6))
    yield "webp-animated.webp", saved(image, "WEBP", lossless=True, save_all=True, append_images=[image.rotate(180)])


def gifs():
    image = Image.fromarray(drawing()).quantize(32)
    yield "gif-plain.gif", saved(image, "GIF", interlace=0)
    yield "gif-interlaced.gif", saved(image, "GIF", interlace=1)
    yield "gif-transparent.gif", saved(image, "GIF", transparency=3, background=5)
    other = Image.fromarray(drawing()[::-1]).quantize(32)
    yield "gif-animated.gif", saved(image, "GIF", save_all=True, append_images=[other])
    # A frame that covers a part of the screen: the same file with a larger screen and the frame moved.
    plain = bytearray(saved(image, "GIF", interlace=0, background=9))
    struct.pack_into("<HH", plain, 6, WIDTH + 9, HEIGHT + 5)
    frame = plain.index(b"\x2c" + struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT))
    struct.pack_into("<HH", plain, frame + 1, 4, 3)
    yield "gif-part.gif", bytes(plain)


def bmps():
    rgb = drawing().astype(np.uint32)
    packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    table = np.random.default_rng(8).integers(0, 256, (256, 4), dtype=np.uint8)
    table[:, 3] = 0
    for bits in (1, 4, 8):
        yield f"bmp-{bits}.bmp", bmp(bits, rgb[..., 1] >> (8 - bits), table[:2 ** bits].tobytes())
    yield "bmp-24.bmp", bmp(24, packed)
    yield "bmp-24-core.bmp", bmp(24, packed, core=True)
    yield "bmp-32.bmp", bmp(32, packed)
    yield "bmp-32-top-down.bmp", bmp(32, packed, top_down=True)
    five = rgb >> 3
    yield "bmp-555.bmp", bmp(16, five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2])
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    yield "bmp-565.bmp", bmp(16, five[..., 0] << 11 | rgb[..., 1] >> 2 << 5 | five[..., 2], masks=masks)


def others():
    """Kinds that Carat leaves to ffmpeg. AVIF is not among them: decoders differ in how they make RGB of it."""
    image = Image.fromarray(drawing())
    yield "tiff.tiff", saved(image, "TIFF", compression="raw")
    yield "tiff-lzw.tiff", saved(image, "TIFF", compression="tiff_lzw")
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "tiff-exif6.tiff", saved(image, "TIFF", exif=turned)


# --------------------------------------------------------------------------------------------

def reference(path):
    """The RGB array that a file must decode to, and why it is not the default loader's where it is not."""
    with Image.open(path) as image:
        pillow = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    try:
        loaded = load_image_as_tensor(str(path))
    except RuntimeError:
        return pillow, "the default loader refuses this format; as Pillow"
    if loaded.dim() == 4:
        return loaded[0].permute(1, 2, 0).numpy(), "the first frame; the default loader returns all"
    pixels = loaded.permute(1, 2, 0).numpy()
    if pixels.dtype != np.uint8:
        return (pixels >> 8).astype(np.uint8), "the high byte; the default loader returns 16 bits"
    if path.name in ("webp-exif6.webp", "png-exif5-last.png"):
        return pillow, "turned upright; the default loader does not see the EXIF block"
    return pixels, None


def write(out, *kinds):
    """Writes pictures and their decode.json into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name, data in (picture for kind in kinds for picture in kind()):
        (out / name).write_bytes(data)
        pixels, deviation = reference(out / name)
        pictures[name.split(".")[0]] = {
            "file": name,
            "size": [pixels.shape[1], pixels.shape[0]],
            "rgb_sha256": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
            "deviation": deviation,
        }
    (out / "decode.json").write_text(json.dumps({"pictures": pictures}, indent=1) + "\n")
    print(f"{len(pictures)} pictures in {out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    write(out, jpegs, pngs, webps, gifs, bmps)
    write(out / "ffmpeg", others)


if __name__ == "__main__":
    main()
