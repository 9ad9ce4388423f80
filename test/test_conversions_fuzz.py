"""Any message at all: the conversions return what they promise or say ValueError, and no more."""

import io
from functools import cache, partial

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from geometry_msgs.msg import Pose  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from lift_gs_ros.msg import MapChunk  # noqa: E402
from peak_memory import peak_memory  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from sensor_msgs.msg import (  # noqa: E402
    CameraInfo,
    CompressedImage,
    Image,
    PointCloud2,
    PointField,
)

from lift_gs_ros.geometry import Camera  # noqa: E402
from lift_gs_ros.nodes import conversions  # noqa: E402
from lift_gs_ros.nodes.point_clouds import cloud_from_message  # noqa: E402

settings.register_profile('small', max_examples=100, deadline=None, derandomize=True)
settings.load_profile('small')

SIZES = st.one_of(st.integers(0, 20), st.sampled_from([2**16, 2**31, 2**32 - 1]))
BYTES = st.binary(max_size=300)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
ENCODINGS = st.sampled_from(
    ['rgb8', 'bgra8', 'mono8', '16UC1', 'mono16', '32FC1', '', 'yuv422', '8UC3', 'RGB8']
)


@st.composite
def images(draw) -> Image:
    image = Image(encoding=draw(ENCODINGS), is_bigendian=draw(st.integers(0, 1)))
    image.width, image.height, image.step = draw(SIZES), draw(SIZES), draw(SIZES)
    exact = image.step * image.height
    size = exact if exact < 5000 and draw(st.booleans()) else draw(st.integers(0, 300))
    image.data = bytes(draw(st.randoms(use_true_random=False)).randbytes(size))
    return image


@given(images())
def test_colour_images(image):
    try:
        color = conversions.color_from_image(image)
    except ValueError:
        return
    assert color.dtype == np.uint8
    assert color.shape == (image.height, image.width, 3)
    assert color.nbytes <= 3 * len(image.data)


@given(images())
def test_depth_images(image):
    try:
        depth = conversions.depth_from_image(image)
    except ValueError:
        return
    assert depth.dtype == np.float32
    assert depth.shape == (image.height, image.width)
    assert np.isfinite(depth).all()
    assert (depth >= 0).all()
    assert depth.nbytes <= 2 * len(image.data)


@cache
def png(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(np.zeros(size, np.uint16)).save(file, 'PNG', compress_level=9)
    return file.getvalue()


@st.composite
def compressed(draw) -> CompressedImage:
    """Noise, or a good PNG, small or of many pixels, with some of its bytes replaced."""
    picture = png(draw(st.sampled_from([(6, 5), (8000, 6000)])))
    data = bytearray(draw(st.one_of(BYTES, st.just(bytes(12) + picture), st.just(picture))))
    for _ in range(draw(st.integers(0, 4)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    kinds = ['jpeg', 'png', 'rgb8; jpeg compressed bgr8', '16UC1; compressedDepth png', '32FC1; c']
    kinds += ['32FC1; compressedDepth', 'rvl', '']
    return CompressedImage(format=draw(st.sampled_from(kinds)), data=bytes(data))


@given(compressed())
def test_compressed_images(message):
    def check(read) -> None:
        try:
            pixels = read(message)
        except ValueError:
            return
        assert pixels.dtype in (np.uint8, np.float32)
        assert np.isfinite(pixels).all()
        assert pixels.shape[0] * pixels.shape[1] <= 4096 * 3072

    # The large one has 48 megapixels in some kilobytes, which were decoded once.
    for read in (conversions.color_from_compressed, conversions.depth_from_compressed):
        assert peak_memory(partial(check, read)) <= 12 * 4096 * 3072


@st.composite
def clouds(draw) -> PointCloud2:
    names = st.sampled_from(['x', 'y', 'z', 'rgb', 'rgba', 'intensity', ''])
    field = st.builds(
        PointField,
        name=names,
        offset=st.one_of(st.integers(0, 40), st.just(2**32 - 1)),
        datatype=st.integers(0, 10),
        count=st.integers(0, 3),
    )
    fields = draw(st.lists(field, max_size=4))
    if draw(st.booleans()):
        fields += [
            PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate('xyz')
        ]
    cloud = PointCloud2(fields=fields, is_bigendian=draw(st.booleans()))
    cloud.width, cloud.height = draw(SIZES), draw(st.sampled_from([0, 1, 2, 2**32 - 1]))
    cloud.point_step = draw(st.one_of(st.just(16), SIZES))
    row = cloud.width * cloud.point_step
    cloud.row_step = draw(st.one_of(st.just(row if row < 2**32 else 0), SIZES))
    exact = cloud.row_step * cloud.height
    size = exact if exact < 5000 else draw(st.integers(0, 300))
    cloud.data = bytes(draw(st.randoms(use_true_random=False)).randbytes(size))
    return cloud


@given(clouds())
def test_point_clouds(message):
    try:
        cloud = cloud_from_message(message)
    except ValueError:
        return
    assert len(cloud) <= message.width * message.height
    assert np.isfinite(cloud.positions).all()
    assert ((cloud.colors >= 0) & (cloud.colors <= 1)).all()


@given(clouds(), st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=3), NUMBERS)
def test_chunks(cloud, key, size):
    message = MapChunk(cloud=cloud, voxel_size=0.05)
    message.key = np.array(key, np.int32)
    try:
        message.chunk_size = size
    except (AssertionError, ValueError):  # rclpy itself refuses it
        return
    try:
        update = conversions.chunk_from_message(message)
    except ValueError:
        return
    assert update.key == tuple(key)


@given(
    st.lists(NUMBERS, min_size=9, max_size=9),
    st.lists(NUMBERS, min_size=12, max_size=12),
    st.lists(SIZES, min_size=8, max_size=8),
)
def test_calibrations(k, p, sizes):
    info = CameraInfo(k=k, p=p, width=sizes[0], height=sizes[1])
    info.roi.x_offset, info.roi.y_offset = sizes[2], sizes[3]
    info.roi.width, info.roi.height = sizes[4], sizes[5]
    info.binning_x, info.binning_y = sizes[6], sizes[7]
    try:
        camera = conversions.camera_from_info(info)
    except ValueError:
        return
    assert isinstance(camera, Camera)
    assert np.isfinite(camera.intrinsics).all()


@given(st.lists(NUMBERS, min_size=7, max_size=7))
def test_poses(values):
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = values[:3]
    orientation = pose.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = values[3:]
    try:
        matrix = conversions.matrix_from_pose(pose)
    except ValueError:
        return
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
