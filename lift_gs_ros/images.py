"""JPEG and PNG files, on disk or inside something else, to arrays."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# A PNG of a few kilobytes may claim any size. Decoding takes up to 12 bytes of memory a pixel
# (JPEG of four colours, progressive): 150 MB.
MAX_PIXELS = 4096 * 3072


def decode_color(data: bytes, name: object) -> NDArray[np.uint8]:
    """Decode a PNG or JPEG to (H, W, 3) uint8, red, green, blue.

    Raises ValueError, with the name of the image, where it is truncated, too large or no image.
    """
    image = _decode(data, name)
    return np.asarray(image if image.mode == 'RGB' else image.convert('RGB'))


def decode_depth(data: bytes, name: object) -> NDArray[np.uint16]:
    """Decode a 16-bit grey PNG to (H, W) uint16 as it is; ValueError as ``decode_color``."""
    image = _decode(data, name)
    if image.mode not in ('I;16', 'I;16B', 'I'):  # depends on Pillow's version
        raise ValueError(f'{name} is an image of mode {image.mode}, expected 16-bit grey depth')
    return np.asarray(image).astype(np.uint16)


def _decode(data: bytes, name: object) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=('PNG', 'JPEG'))
        if image.width * image.height > MAX_PIXELS:
            size = f'{image.width}x{image.height}'
            raise ValueError(f'it claims {size} pixels, more than {MAX_PIXELS} (4096x3072)')
        image.load()
    except Exception as error:  # Pillow raises OSError, SyntaxError, EOFError, struct.error ...
        raise ValueError(
            f'{name} cannot be decoded ({type(error).__name__}: {error}), '
            'expected a whole PNG or JPEG image'
        ) from error
    return image


def resize_color(color: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to a depth image's size, averaging where it shrinks."""
    if color.shape[:2] == (height, width):
        return color
    return np.asarray(Image.fromarray(color).resize((width, height), Image.Resampling.BOX))
