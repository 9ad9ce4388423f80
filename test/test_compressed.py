"""Compressed images as image_transport_plugins sends them."""

import io
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from peak_memory import peak_memory  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402

from lift_gs_ros.messages import color_from_compressed, depth_from_compressed  # noqa: E402

COLOR = np.zeros((24, 32, 3), np.uint8)
COLOR[:8, :, 0], COLOR[8:, :, 2] = 200, 90  # a border between two blocks of JPEG


def encode(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    options = {'quality': 95, 'subsampling': 0} if kind == 'JPEG' else {}
    Pillow.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def compressed(image_format: str, data: bytes) -> CompressedImage:
    return CompressedImage(format=image_format, data=data)


def quantised(metres: np.ndarray, nearest: float = 100.0, farthest: float = 10.0) -> bytes:
    """Quantise as compressed_depth_image_transport does: inverse depth in 16 bits."""
    a = nearest * (nearest + 1)
    b = 1 - a / farthest
    with np.errstate(divide='ignore', invalid='ignore'):
        values = np.where(metres < farthest, a / metres + b, 0).astype(np.uint16)
    return struct.pack('<iff', 0, a, b) + encode(values, 'PNG')


@pytest.mark.parametrize(
    ('image_format', 'kind', 'tolerance'),
    [
        ('rgb8; jpeg compressed bgr8', 'JPEG', 3),
        ('bgr8; png compressed bgr8', 'PNG', 0),
        ('jpeg', 'JPEG', 3),
        ('png', 'PNG', 0),
    ],
)
def test_colour_comes_back_in_red_green_blue(image_format, kind, tolerance):
    color = color_from_compressed(compressed(image_format, encode(COLOR, kind)))
    assert color.dtype == np.uint8
    assert np.abs(color.astype(int) - COLOR).max() <= tolerance


def test_colour_that_its_publisher_did_not_swap_for_opencv_is_swapped_back():
    data = encode(np.ascontiguousarray(COLOR[..., ::-1]), 'PNG')
    np.testing.assert_array_equal(
        color_from_compressed(compressed('rgb8; png compressed rgb8', data)), COLOR
    )


def test_grey_images_become_three_channels():
    grey = color_from_compressed(compressed('mono8; png compressed ', encode(COLOR[..., 0], 'PNG')))
    np.testing.assert_array_equal(grey, np.repeat(COLOR[..., :1], 3, axis=2))


@pytest.mark.parametrize('image_format', ['16UC1; compressedDepth png', '16UC1; compressedDepth'])
def test_depth_in_millimetres_comes_back_in_metres(image_format):
    millimetres = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 5
    millimetres[3, 3] = 65535
    data = bytes(12) + encode(millimetres, 'PNG')
    depth = depth_from_compressed(compressed(image_format, data))
    millimetres[3, 3] = 0
    np.testing.assert_allclose(depth, millimetres / 1000, atol=1e-6)


def test_depth_that_was_quantised_comes_back_within_the_step():
    metres = np.linspace(0.4, 9.0, 24 * 32, dtype=np.float32).reshape(24, 32)
    metres[0, 0], metres[1, 1] = np.nan, 50.0
    depth = depth_from_compressed(compressed('32FC1; compressedDepth png', quantised(metres)))
    assert depth.dtype == np.float32
    assert depth[0, 0] == depth[1, 1] == 0
    good = np.isfinite(metres) & (metres < 10)
    np.testing.assert_allclose(depth[good], metres[good], rtol=2e-3)


def png_that_claims(width: int, height: int) -> bytes:
    """Take a small PNG and write another size into its header."""
    data = bytearray(encode(COLOR, 'PNG'))
    data[16:24] = struct.pack('>II', width, height)
    data[29:33] = struct.pack('>I', zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_a_small_file_of_a_large_picture_takes_no_more_memory_than_is_said():
    def read(height: int) -> np.ndarray:
        data = encode(np.zeros((height, 4096, 3), np.uint8), 'PNG')
        assert len(data) < 100_000
        messages.append(compressed('png', data))
        return color_from_compressed(messages[-1])

    messages: list[CompressedImage] = []
    assert read(3072).shape == (3072, 4096, 3)
    with pytest.raises(ValueError, match='4096x3073 pixels, more than 12582912'):
        read(3073)
    taken = peak_memory(lambda: color_from_compressed(messages[0]))
    # A few pages may have been there before.
    assert 2 * 4096 * 3072 < taken < 12 * 4096 * 3072
    assert peak_memory(lambda: refused(messages[1])) < 10e6


def refused(message: CompressedImage) -> None:
    with pytest.raises(ValueError, match='cannot be decoded'):
        color_from_compressed(message)


@pytest.mark.parametrize(
    ('image_format', 'data', 'match'),
    [
        ('jpeg', b'', 'cannot be decoded'),
        ('tiff', encode(COLOR, 'TIFF'), 'expected a whole PNG or JPEG image'),
        ('jpeg', b'\xff\xd8\xff' + bytes(50), 'cannot be decoded'),
        ('png', encode(COLOR, 'PNG')[:-30], 'cannot be decoded'),
        ('png', png_that_claims(8000, 8000), 'claims 8000x8000 pixels'),
        ('png', png_that_claims(60000, 60000), 'DecompressionBomb'),
    ],
    ids=['empty', 'tiff', 'head only', 'cut off', 'large', 'huge'],
)
def test_what_is_wrong_with_a_picture_is_said(image_format, data, match):
    with pytest.raises(ValueError, match=match):
        color_from_compressed(compressed(image_format, data))


@pytest.mark.parametrize(
    ('image_format', 'data', 'match'),
    [
        ('16UC1; compressedDepth rvl', bytes(50), 'expected png: set the publisher to png'),
        ('16UC1; compressedDepth png', bytes(5), 'carries 5 bytes'),
        ('16UC1; compressedDepth png', bytes(12) + encode(COLOR, 'PNG'), 'mode RGB'),
        ('8UC1; compressedDepth png', bytes(50), 'expected an encoding of 16UC1'),
    ],
    ids=['rvl', 'short', 'colour', 'encoding'],
)
def test_what_is_wrong_with_depth_is_said(image_format, data, match):
    with pytest.raises(ValueError, match=match):
        depth_from_compressed(compressed(image_format, data))
