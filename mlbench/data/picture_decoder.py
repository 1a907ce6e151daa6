"""Pictures from files: every format and depth to 8 bits, upright, over white; the one road by which files come in."""

import math
import struct
import warnings
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.core.errors import UserError

VERSION = 3  # of what a file becomes here: one more with every change, so that no cache of another version is read
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
# what a file may be, whatever its ending says; not EPS, for which Pillow starts another program
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
WHITE_IS_ZERO, SEPARATE = 0, 2  # of TIFF: values of PHOTOMETRIC and PLANES
BITS, PHOTOMETRIC, PLANES, SAMPLE_FORMAT = 258, 262, 284, 339  # of TIFF: numbers of tags
UNSIGNED = (1, 4)  # values of SAMPLE_FORMAT: unsigned, and undefined, which readers take for it
GREY_STEPS = {"L;2": 85, "L;4": 17}  # by which Pillow multiplies grey values of 2 and 4 bits
NO_RANGE = "have no agreed black and white; save it with 8 or 16 bits"
# what Pillow raises for damaged files, beside errors of its own, and ImportError where it was built without a format
READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, ImportError)
READ_ERRORS += (struct.error,)


def decode_pictures(paths: Iterable[Path], size: int, grey: bool, crop: float = 1.0) -> Iterator[np.ndarray]:
    """The pictures of files in their order, decoded in several threads. Raises UserError at the first bad one."""
    with warnings.catch_warnings(), ThreadPoolExecutor() as threads:
        warnings.filterwarnings("ignore", module="PIL")  # damaged remarks beside a good picture, and large pictures
        yield from threads.map(lambda path: decode_picture(path, size, grey, crop), paths)


def decode_picture(path: Path, size: int, grey: bool, crop: float = 1.0) -> np.ndarray:
    """Read a file as uint8 [C, size, size]: the centre square, scaled; C is 1 for `grey`, else 3.

    With `crop` below 1 the middle of that square, that share of its side, is kept.

    Whole numbers of more than 8 bits are brought to 8 by the range of their depth (the upper 8 bits; PGM and PPM by the
    maxval of the file), a picture is turned as its EXIF orientation says, transparent parts show white, CMYK, YCbCr and
    LAB become RGB, and of several frames or pages the first is taken. Colour profiles are not applied.

    Raises:
        UserError: For what is no picture, is damaged, or has values without an agreed range (floats, signed numbers).
    """
    with opened(path) as file:
        return decode_image(file, size, grey, crop)


def decode_at_own_size(path: Path, size: int, grey: bool, crop: float, most: int) -> np.ndarray:
    """Read the pixels that `decode_picture` scales to `size`, as they are in the file.

    Args:
        path: The file.
        size: Pixels a side of the picture that the network takes.
        grey: Whether it takes grey ones.
        crop: The share of the shorter side that is kept.
        most: Pixels a side of what is returned; more are scaled down.

    Returns:
        uint8 [C, side, side]; C is 1 for `grey`, else 3.

    Raises:
        UserError: As `decode_picture`.
    """
    with warnings.catch_warnings(), opened(path) as file:
        warnings.filterwarnings("ignore", module="PIL")
        reduction = most * round(size / crop) / (size * min(file.size))
        if reduction < 1:  # of JPEG every second, fourth or eighth pixel is decoded where that is enough
            file.draft(None, tuple(math.ceil(length * reduction) for length in file.size))
        return as_array(own_square(decode_whole(file, grey), size, crop, most))


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """A file as Pillow opens it. Raises UserError for what cannot be read, also while it is open."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as file:
            yield file
    except (*READ_ERRORS, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is not a picture that can be read ({error})") from error


def decode_image(file: Any, size: int, grey: bool, crop: float = 1.0) -> np.ndarray:
    """The same for a picture that Pillow has opened. Raises whatever Pillow does."""
    return as_array(centre_square(decode_whole(file, grey), size, crop))


def as_array(image: Any) -> np.ndarray:
    """uint8 [C, H, W]."""
    return np.array(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)


def decode_whole(file: Any, grey: bool) -> Any:
    """All pixels of a picture that Pillow has opened, with 8 bits, upright and over white."""
    white = white_value(file)
    scale_transparency(file)
    file.load()
    image = upright(file)
    image = image if white is None else eight_bits(image, white, getattr(file, "tag_v2", {}))
    image = over_white(image, is_bmp=file.format == "BMP")
    return image.convert("L" if grey else "RGB")


def centre_square(image: Any, size: int, crop: float) -> Any:
    """The middle of a picture, `crop` of its shorter side, as size x size pixels.

    The square is scaled first and cut afterwards, as networks for photographs are evaluated.
    """
    from PIL import ImageOps

    whole = round(size / crop)
    edge = (whole - size) // 2
    return ImageOps.fit(image, (whole, whole)).crop((edge, edge, edge + size, edge + size))


def own_square(image: Any, size: int, crop: float, most: int) -> Any:
    """The pixels of a picture that `centre_square` scales, to the nearest one; scaled to `most` if they are more."""
    whole = round(size / crop)
    scale = min(image.size) / whole
    left, top = ((length - min(image.size)) / 2 + (whole - size) // 2 * scale for length in image.size)
    side = size * scale
    if side > most:
        box = (left, top, min(left + side, image.width), min(top + side, image.height))
        return image.resize((most, most), box=box, reducing_gap=2.0)
    side = max(1, round(side))
    left, top = (min(round(start), length - side) for start, length in zip((left, top), image.size, strict=True))
    return image.crop((left, top, left + side, top + side))


def white_value(file: Any) -> int | None:
    """The value of white in a file with more than 8 bits, None up to 8. Raises ValueError where there is none."""
    tags = getattr(file, "tag_v2", {})
    if tags.get(PLANES) == SEPARATE and tags[BITS][0] > 8 and file.tile[0][0] != "libtiff":
        raise ValueError("Pillow misreads more than 8 bits in uncompressed planes; save it with interleaved channels")
    if file.mode == "F" or any(kind not in UNSIGNED for kind in tags.get(SAMPLE_FORMAT, ())):
        raise ValueError(f"its values are {'floats' if file.mode == 'F' else 'signed numbers'}, which {NO_RANGE}")
    if file.mode.startswith("I;16"):
        return 2 ** int(tags.get(BITS, (16,))[0]) - 1
    if file.mode != "I":
        return None
    if file.format in ("PPM", "PNG"):
        return 2**16 - 1  # Pillow brings PGM to 16 bits by its maxval, and older versions read 16-bit PNG so
    if tags.get(BITS) == (32,):
        return 2**32 - 1
    raise ValueError(f"its values are whole numbers of 32 bits, which {NO_RANGE}")


def scale_transparency(file: Any) -> None:
    """Bring the transparent colour of a PNG, which Pillow leaves in the file's depth, to that of its pixels."""
    if file.format != "PNG" or "transparency" not in file.info or not file.tile:
        return
    layout, colour = file.tile[0][3], file.info["transparency"]
    if layout in GREY_STEPS:
        file.info["transparency"] = colour * GREY_STEPS[layout]
    elif layout == "RGB;16B":
        file.info["transparency"] = tuple(value >> 8 for value in colour)


def upright(file: Any) -> Any:
    """A picture turned as its EXIF orientation says; as it is where the EXIF data cannot be read."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(file)
    except READ_ERRORS:
        return file


def eight_bits(image: Any, white: int, tags: Any) -> Any:
    """The upper eight bits of a grey picture, with an alpha channel where one of its values is transparent."""
    from PIL import Image

    values = np.asarray(image)
    values = (values.view(np.uint32) if values.dtype == np.int32 else values).astype(np.uint64)
    seen = white - values if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else values  # Pillow inverts up to 8 bits only
    picture = Image.fromarray((seen * 256 // (white + 1)).astype(np.uint8))
    if "transparency" not in image.info:
        return picture
    alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Image.merge("LA", (picture, alpha))


def over_white(image: Any, is_bmp: bool) -> Any:
    """A picture without its transparency, as it looks on white paper."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if is_bmp and not image.getchannel("A").getbbox():  # many programs leave the fourth byte of BMP at 0
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
