"""Every mode and depth of files, against the 8-bit picture that they stand for."""

import contextlib
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from mlbench.core.errors import UserError
from mlbench.data.picture_decoder import decode_picture, decode_pictures

SIDE = 16
RAMP = np.tile(np.arange(SIDE, dtype=np.uint8) * 17, (SIDE, 1))  # 0 to 255, black on the left
COLOURS = np.stack([RAMP, RAMP.T, RAMP[:, ::-1]], 2)
WIDE = (RAMP.astype(np.uint16) << 8) + 77  # what RAMP is the upper half of
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,  # orientation 6 is undone by 270 degrees
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def decoded(path, grey=False):
    """The file at its own size, [H, W, C] or [H, W]."""
    return decode_picture(path, SIDE, grey).transpose(1, 2, 0).squeeze()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path, rows, depth, colour_type, transparent=b""):
    """A PNG by hand: rows are the bytes of each row."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour_type, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    extra = chunk(b"tRNS", transparent) if transparent else b""
    content = chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_is_its_upper_half(tmp_path, suffix):
    Image.fromarray(WIDE).save(tmp_path / f"a.{suffix}")
    assert (decoded(tmp_path / f"a.{suffix}", grey=True) == RAMP).all()
    assert (decoded(tmp_path / f"a.{suffix}") == RAMP[..., None]).all()


def test_16_bits_are_those_of_scikit_image(tmp_path):
    util = pytest.importorskip("skimage.util")
    wide = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert (decoded(tmp_path / "a.png", grey=True) == util.img_as_ubyte(wide)).all()


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_16_bits_of_every_colour_type(tmp_path, colour_type, channels):
    values = np.repeat(WIDE[..., None], channels, 2)
    if colour_type >= 4:
        values[..., -1] = 65535  # opaque
    path = png(tmp_path / "a.png", [row.astype(">u2").tobytes() for row in values], 16, colour_type)
    assert (decoded(path) == RAMP[..., None]).all()


@pytest.mark.parametrize("kind", ["P5", "P2", "P6"])
@pytest.mark.parametrize("white", [1, 15, 255, 1023, 4095, 65535])
def test_pgm_and_ppm_by_the_maxval_of_the_file(tmp_path, kind, white):
    values = (np.linspace(0, 1, SIDE) * white).round().astype(int)
    rows = np.tile(np.repeat(values, 3 if kind == "P6" else 1), (SIDE, 1))
    content = rows.astype(">u2" if white > 255 else "u1").tobytes()
    if kind == "P2":
        content = " ".join(str(value) for value in rows.flatten()).encode()
    (tmp_path / "a.pgm").write_bytes(f"{kind}\n{SIDE} {SIDE}\n{white}\n".encode() + content)
    found = decoded(tmp_path / "a.pgm", grey=True)
    np.testing.assert_allclose(found[0], values * 255 / white, atol=1)
    assert (found[0, 0], found[0, -1]) == (0, 255)


@pytest.mark.parametrize(
    ("dtype", "photometric"),
    [
        *((f"{order}u{size}", kind) for order in "<>" for size in (1, 2) for kind in ("minisblack", "rgb")),
        *(("<u1", "miniswhite"), (">u1", "miniswhite"), ("<u2", "miniswhite"), ("<u4", "minisblack")),
    ],
)
def test_tiff_of_every_depth(tmp_path, dtype, photometric):
    tifffile = pytest.importorskip("tifffile")
    values = (RAMP.astype(np.uint64) << (8 * np.dtype(dtype).itemsize - 8)).astype(dtype)
    stored = ~values if photometric == "miniswhite" else values
    stored = np.repeat(stored[..., None], 3, 2) if photometric == "rgb" else stored
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, byteorder=dtype[0])
    assert (decoded(tmp_path / "a.tif") == RAMP[..., None]).all()


@pytest.mark.parametrize(("dtype", "photometric"), [(">u2", "miniswhite"), (">u4", "minisblack"), ("<u4", "rgb")])
def test_tiffs_that_cannot_be_read_are_named_and_not_misread(tmp_path, dtype, photometric):
    tifffile = pytest.importorskip("tifffile")
    stored = np.repeat(RAMP[..., None], 3, 2) if photometric == "rgb" else RAMP
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(dtype), photometric=photometric, byteorder=dtype[0])
    with pytest.raises(UserError, match=r"a\.tif"):
        decode_picture(tmp_path / "a.tif", SIDE, grey=True)


def test_tiff_of_12_bits_is_no_tiff_of_16(tmp_path):
    values = RAMP.astype(int) * 16 + 5
    packed = np.stack(
        [values[:, ::2] >> 4, (values[:, ::2] & 15) << 4 | values[:, 1::2] >> 8, values[:, 1::2] & 255], 2
    )
    strip = packed.astype(np.uint8).tobytes()
    tags = [(256, SIDE), (257, SIDE), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, SIDE), (279, len(strip))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + bytes(4))
    assert (decoded(tmp_path / "a.tif", grey=True) == RAMP).all()


@pytest.mark.parametrize(
    ("array", "suffix", "reason"),
    [
        (RAMP.astype(np.float32), "tif", "floats"),
        (RAMP.astype(np.int32), "tif", "signed numbers"),
        (RAMP.astype(np.float32), "ppm", "floats"),
    ],
)
def test_values_without_a_range_are_refused_and_named(tmp_path, array, suffix, reason):
    Image.fromarray(array).save(tmp_path / f"a.{suffix}")
    with pytest.raises(UserError, match=rf"a\.{suffix} .*{reason}, which have no agreed black and white"):
        decode_picture(tmp_path / f"a.{suffix}", SIDE, grey=True)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f4", "f8", "f2", "u8"])
def test_signed_and_float_tiffs_are_refused(tmp_path, dtype):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", (RAMP // 2).astype(dtype), photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif"):
        decode_picture(tmp_path / "a.tif", SIDE, grey=True)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_modes_of_8_bits_or_fewer_are_pillows(tmp_path, mode, grey):
    image = Image.fromarray(COLOURS).convert(mode)
    image.save(tmp_path / "a.png")
    assert (decoded(tmp_path / "a.png", grey) == np.array(image.convert("L" if grey else "RGB"))).all()


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "tif"), ("YCbCr", "tif"), ("CMYK", "jpg"), ("YCbCr", "jpg")])
def test_colour_spaces_become_rgb(tmp_path, mode, suffix):
    settings = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(COLOURS).convert(mode).save(tmp_path / f"a.{suffix}", **settings)
    np.testing.assert_allclose(decoded(tmp_path / f"a.{suffix}").astype(int), COLOURS, atol=8)


def test_lab_becomes_rgb(tmp_path):
    colour = pytest.importorskip("skimage.color")
    Image.new("LAB", (SIDE, SIDE), (153, 128 + 20, 128 - 30)).save(tmp_path / "a.tif")
    expected = 255 * colour.lab2rgb(np.array([[[60.0, 20.0, -30.0]]]))
    np.testing.assert_allclose(
        decoded(tmp_path / "a.tif")[5, 5], expected[0, 0], atol=8
    )  # adaptations to the white differ


def stroke(mode):
    """Black strokes on transparent ground whose hidden colour is black too, and what it looks like on white."""
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    alpha[4:8] = 255
    alpha[8:10] = 128
    bands = [np.zeros((SIDE, SIDE), np.uint8)] * (len(mode) - 1)
    picture = Image.merge(mode, [Image.fromarray(band) for band in (*bands, alpha)])
    return picture, (255 - alpha.astype(int))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "png"), ("LA", "png"), ("RGBA", "tif"), ("LA", "tif"), ("RGBA", "webp")]
)
def test_transparent_parts_show_white(tmp_path, mode, suffix, grey):
    image, on_white = stroke(mode)
    image.save(tmp_path / f"a.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    found = decoded(tmp_path / f"a.{suffix}", grey)
    np.testing.assert_allclose(found if grey else found[..., 0], on_white, atol=1)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_transparent_colour_of_a_palette_shows_white(tmp_path, suffix):
    index = np.zeros((SIDE, SIDE), np.uint8)
    index[4:8] = 1
    image = Image.fromarray(index).convert("P")
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.save(tmp_path / f"a.{suffix}", transparency=0)
    expected = np.where(index[..., None] == 1, [200, 10, 20], 255)
    assert (decoded(tmp_path / f"a.{suffix}") == expected).all()


def test_a_palette_with_degrees_of_transparency(tmp_path):
    image = Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).convert("P")
    image.putpalette([100, 0, 0])
    image.save(tmp_path / "a.png", transparency=bytes([51]))
    assert decoded(tmp_path / "a.png")[3, 3].tolist() == [224, 204, 204]  # 100 * .2 + 255 * .8


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_at_every_depth(tmp_path, depth):
    most = 2**depth - 1
    bits = np.zeros((SIDE, SIDE, depth), np.uint8)  # black
    bits[:, 8:, -1] = 1  # the smallest value above it, which is transparent
    bits[:4] = 1  # white
    rows = [np.packbits(row.flatten()).tobytes() for row in bits]
    path = png(tmp_path / "a.png", rows, depth, 0, struct.pack(">H", 1))
    expected = np.zeros((SIDE, SIDE))
    expected[:, 8:] = 255
    expected[:4] = 255
    assert most >= 1
    assert (decoded(path, grey=True) == expected).all()


def test_the_transparent_colour_of_a_png_of_16_bits(tmp_path):
    values = np.zeros((SIDE, SIDE, 3), ">u2")
    values[4:] = (0x4000, 0x2000, 0x1000)
    path = png(tmp_path / "a.png", [row.tobytes() for row in values], 16, 2, struct.pack(">3H", 0x4000, 0x2000, 0x1000))
    found = decoded(path)
    assert (found[:4] == 0).all()
    assert (found[4:] == 255).all()


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_pictures_are_turned_as_their_exif_says(tmp_path, suffix, orientation):
    upright = Image.fromarray(COLOURS)
    exif = Image.Exif()
    exif[274] = orientation
    settings = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    upright.transpose(TURNS[orientation]).save(tmp_path / f"a.{suffix}", exif=exif, **settings)
    np.testing.assert_allclose(decoded(tmp_path / f"a.{suffix}").astype(int), COLOURS, atol=6 if suffix == "jpg" else 0)


def test_a_turned_picture_of_16_bits_is_both(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(WIDE).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert (decoded(tmp_path / "a.png", grey=True) == RAMP).all()


def test_damaged_exif_data_do_not_matter(tmp_path):
    exif = Image.Exif()
    exif[271], exif[274] = "a maker of cameras", 1
    Image.fromarray(COLOURS).save(tmp_path / "a.webp", exif=exif, lossless=True)
    content = bytearray((tmp_path / "a.webp").read_bytes())
    place = content.index(b"a maker") - 40
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for at in range(place, place + 40):
            (tmp_path / "b.webp").write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
            with contextlib.suppress(UserError):  # where it is the picture's own data; no other exception may come out
                (found,) = decode_pictures([tmp_path / "b.webp"], SIDE, grey=False)
                assert sorted(found.flatten()) == sorted(COLOURS.flatten())
    assert not caught


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_of_several_frames_is_taken(tmp_path, suffix):
    first, second = (Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue"))
    settings = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second], **settings)
    assert (decoded(tmp_path / f"a.{suffix}") == [255, 0, 0]).all()


def test_the_centre_is_cut_out_and_scaled(tmp_path):
    draws = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(draws).save(tmp_path / "a.png")
    expected = np.array(ImageOps.fit(Image.fromarray(draws), (8, 8)))
    assert (decode_picture(tmp_path / "a.png", 8, grey=False) == expected.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(("channels", "photometric"), [(3, "rgb"), (4, "separated")])
def test_16_bits_in_uncompressed_planes_are_not_misread(tmp_path, channels, photometric):
    tifffile = pytest.importorskip("tifffile")
    planes = np.stack([WIDE] * channels)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric=photometric, planarconfig="separate")
    with pytest.raises(UserError, match=r"a\.tif .*planes"):
        decode_picture(tmp_path / "a.tif", SIDE, grey=True)
    tifffile.imwrite(
        tmp_path / "b.tif", planes[:3] >> 8 << 8, photometric="rgb", planarconfig="separate", compression=8
    )
    assert (decoded(tmp_path / "b.tif", grey=True) == RAMP).all()


def test_a_bmp_whose_alpha_is_empty_is_opaque(tmp_path):
    rows = np.dstack([COLOURS[..., ::-1], np.zeros_like(RAMP)]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = (
        struct.pack("<IiiHHIIiiII", 108, SIDE, -SIDE, 1, 32, 3, len(rows), 0, 0, 0, 0) + masks + b"BGRs" + bytes(48)
    )
    start = 14 + len(header)
    (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + rows)
    assert (decoded(tmp_path / "a.bmp") == COLOURS).all()


def test_endings_that_lie_and_programs_in_the_place_of_pictures(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert (decoded(tmp_path / "a.jpg") == COLOURS).all()
    (tmp_path / "b.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n")
    with pytest.raises(UserError, match=r"b\.png .*cannot identify"):  # no word of the program that would run it
        decode_picture(tmp_path / "b.png", SIDE, grey=True)
