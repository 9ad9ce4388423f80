"""Images as image_transport sends them: raw, compressed (jpeg, png) and compressedDepth (png).

The formats are those of image_transport_plugins. Sizes are checked before anything is decoded;
whatever a message gets wrong ends in a ValueError.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from sensor_msgs.msg import CompressedImage, Image

from lift_gs_ros.mapping.frame import depth_to_metres
from lift_gs_ros.nodes.conversions import color_from_image, depth_from_image

MAX_PIXELS = 4096 * 4096
# compressedDepth puts in front of the PNG: int32 format, float32 a, float32 b.
_HEADER = struct.Struct('<iff')


def read_color(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """Read a colour image as (H, W, 3) uint8 red, green, blue."""
    if isinstance(message, Image):
        return color_from_image(message)
    picture = _open(bytes(message.data), ('JPEG', 'PNG'), message.format)
    color = _decode(picture, message.format, 'RGB')
    # The publisher hands OpenCV bgr8, which writes it as it should be, unless it says otherwise.
    swapped = 'compressed rgb' in message.format.partition(';')[2]
    return np.ascontiguousarray(color[..., ::-1]) if swapped else color


def read_depth(message: Image | CompressedImage) -> NDArray[np.float32]:
    """Read a depth image as (H, W) float32 metres, 0 where unknown.

    compressedDepth holds 16UC1 millimetres as they are, and 32FC1 metres as a / (value - b) with a
    and b from its header; 0 is unknown in both.
    """
    if isinstance(message, Image):
        return depth_from_image(message)
    encoding, _, compression = message.format.partition(';')
    if encoding not in ('16UC1', '32FC1') or compression.strip() not in (
        '',
        'compressedDepth',
        'compressedDepth png',
    ):
        raise ValueError(
            f"compressed depth has format '{message.format}', expected '16UC1; compressedDepth png'"
            " or '32FC1; compressedDepth png' (set the publisher's parameter format to png)"
        )
    data = bytes(message.data)
    if len(data) <= _HEADER.size:
        raise ValueError(f'compressed depth carries {len(data)} bytes, expected a header and a PNG')
    values = _decode(_open(data[_HEADER.size :], ('PNG',), message.format), message.format)
    if values.dtype != np.uint16 or values.ndim != 2:
        raise ValueError(
            f'compressed depth is a PNG of {values.dtype} {values.shape}, expected 16 bits and one '
            'channel'
        )
    if encoding == '16UC1':
        return depth_to_metres(values)
    _, a, b = _HEADER.unpack_from(data)
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        metres = np.float32(a) / (values.astype(np.float32) - np.float32(b))
    return depth_to_metres(np.where(values > 0, metres, np.float32(0)))


def _open(data: bytes, formats: tuple[str, ...], claimed: str) -> Pillow.Image:
    """Read the header of a picture and refuse what would be too large."""
    try:
        picture = Pillow.open(io.BytesIO(data), formats=formats)
    except (OSError, Pillow.DecompressionBombError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"compressed image of format '{claimed}' and {len(data)} bytes is no "
            f'{" or ".join(formats)}: {error}'
        ) from None
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(
            f'compressed image says it has {picture.width}x{picture.height} pixels, expected at '
            f'most {MAX_PIXELS}'
        )
    return picture


def _decode(picture: Pillow.Image, claimed: str, mode: str = '') -> NDArray:
    try:
        return np.array(picture.convert(mode) if mode else picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"compressed image of format '{claimed}' is damaged: {error}") from None
