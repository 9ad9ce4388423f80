"""sensor_msgs/PointCloud2 to point clouds and back, in numpy, without a loop over points."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from lift_gs_ros import packing
from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.nodes.buffers import make_data

_FORMATS = {
    PointField.INT8: 'i1',
    PointField.UINT8: 'u1',
    PointField.INT16: 'i2',
    PointField.UINT16: 'u2',
    PointField.INT32: 'i4',
    PointField.UINT32: 'u4',
    PointField.FLOAT32: 'f4',
    PointField.FLOAT64: 'f8',
}
_DATATYPES = {np.dtype(code): datatype for datatype, code in _FORMATS.items()}
_PACKED, _BYTE = ('u4', 'f4', 'i4'), ('u1',)
_COLOR_FORMATS = {'rgb': _PACKED, 'rgba': _PACKED, 'r': _BYTE, 'g': _BYTE, 'b': _BYTE}
GREY = 0.5


def cloud_from_message(message: PointCloud2) -> PointCloud:
    """Read the fields x, y, z and colour where there is one; drop points that hold NaN or inf.

    Fields may come in any order, with padding, in any numeric type and either byte order. Colour
    is a field rgb or rgba of four bytes, 0xAARRGGBB, called float32 or uint32, or three fields r,
    g, b of one byte each. Without any, points are grey.

    Raises ValueError where fields and data contradict each other.
    """
    if message.width * message.height == 0:
        return PointCloud.empty()
    names = {field.name for field in message.fields}
    choices: tuple[tuple[str, ...], ...] = (('rgb',), ('rgba',), ('r', 'g', 'b'))
    color = next((choice for choice in choices if names.issuperset(choice)), ())
    points = columns_from_message(message, ('x', 'y', 'z', *color))
    columns = _word_columns(points, color)
    if columns is not None:
        return _unpack(points, columns)
    positions = np.stack([points[name] for name in 'xyz'], axis=-1)
    with np.errstate(over='ignore'):  # what float32 cannot hold is dropped with the rest
        positions = positions.astype(np.float32)
    finite = np.isfinite(positions).all(axis=1)
    return PointCloud(positions[finite], _colors(points, color)[finite])


def _word_columns(points: NDArray, color: tuple[str, ...]) -> NDArray[np.uint64] | None:
    """Say in which words of a point x, y, z and colour are; None unless all of them are words.

    So it is in the clouds that most programs write, which take the fast way.
    """
    if len(color) != 1 or points.dtype.itemsize % 4 or sys.byteorder != 'little':
        return None
    described = points.dtype.fields
    assert described is not None  # columns_from_message makes structured arrays
    fields = [described[name][:2] for name in ('x', 'y', 'z', *color)]
    if [kind.str for kind, _ in fields] != ['<f4', '<f4', '<f4', '<u4']:
        return None
    offsets = np.array([offset for _, offset in fields], np.uint64)
    return offsets // np.uint64(4) if not (offsets % np.uint64(4)).any() else None


def _unpack(points: NDArray, columns: NDArray[np.uint64]) -> PointCloud:
    words = points.view(np.uint32).reshape(len(points), -1)
    positions, colors = np.empty((2, len(points), 3), np.float32)
    count = packing.unpack_points(
        words.view(np.float32), words, columns, packing.LEVELS, positions, colors
    )
    return PointCloud(positions[:count], colors[:count])


def _colors(points: NDArray, names: tuple[str, ...]) -> NDArray[np.float32]:
    """Red, green, blue (N, 3) in [0, 1] of the columns that hold them."""
    if len(names) == 1:
        return unpack_rgb(points[names[0]])
    if len(names) == 3:
        channels = np.stack([points[name] for name in names], axis=-1)
        return channels.astype(np.float32) / np.float32(255)
    return np.full((len(points), 3), GREY, np.float32)


def columns_from_message(message: PointCloud2, names: tuple[str, ...]) -> NDArray:
    """View the named fields as a structured array (N,); colour as uint32."""
    if message.width * message.height == 0:
        return np.zeros(0, [(name, '<f4') for name in names])
    fields = {field.name: field for field in reversed(message.fields)}
    missing = [name for name in names if name not in fields]
    if missing:
        raise ValueError(
            f'point cloud has the fields {sorted(fields)}, expected {list(names)}: '
            f'{missing} missing'
        )
    return _points(message, [fields[name] for name in names])


def _points(message: PointCloud2, fields: list[PointField]) -> NDArray:
    """View the data as a structured array (N,) of the given fields."""
    row = message.width * message.point_step
    size = len(message.data)
    if message.row_step < row or message.row_step * message.height != size or row == 0:
        raise ValueError(
            f'point cloud of {message.width}x{message.height} points of {message.point_step} bytes '
            f'with row_step {message.row_step} carries {size} bytes, expected a row_step of at '
            f'least {row} and row_step * height = {message.row_step * message.height} bytes'
        )
    endian = '>' if message.is_bigendian else '<'
    dtype = np.dtype(
        {
            'names': [field.name for field in fields],
            'formats': [endian + _format(field, message.point_step) for field in fields],
            'offsets': [field.offset for field in fields],
            'itemsize': message.point_step,
        }
    )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.row_step)
    return np.ascontiguousarray(rows[:, :row]).view(dtype).reshape(-1)


def _format(field: PointField, point_step: int) -> str:
    code = _FORMATS.get(field.datatype, '')
    wanted = _COLOR_FORMATS.get(field.name)
    if not code or field.count != 1 or (wanted and code not in wanted):
        raise ValueError(
            f"field '{field.name}' has datatype {field.datatype} and count {field.count}, expected "
            f'{" or ".join(wanted) if wanted else "a datatype of PointField (1 to 8)"} and count 1'
        )
    if field.offset + int(code[1]) > point_step:
        raise ValueError(
            f"field '{field.name}' ends at byte {field.offset + int(code[1])} "
            f'of a point of {point_step} bytes'
        )
    return 'u4' if len(field.name) > 1 and wanted else code


def unpack_rgb(packed: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Unpack 0xAARRGGBB (N,) to red, green, blue (N, 3) in [0, 1]."""
    packed = packed.astype(np.uint32, copy=False)
    channels = np.stack([packed >> 16, packed >> 8, packed], axis=-1) & 255
    return channels.astype(np.float32) / np.float32(255)


def pack_rgb(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pack red, green, blue (N, 3) in [0, 1] to 0x00RRGGBB, called float32 as RViz expects."""
    red, green, blue = (np.clip(colors, 0, 1) * 255 + 0.5).astype(np.uint32).T
    return (red << 16 | green << 8 | blue).astype('<u4').view('<f4')


def cloud_to_message(cloud: PointCloud, header: Header) -> PointCloud2:
    """Write x, y, z, rgb (float32 each, 16 bytes a point)."""
    fields = [
        _field(name, 4 * i, PointField.FLOAT32) for i, name in enumerate(('x', 'y', 'z', 'rgb'))
    ]
    message, data = _message(len(cloud), fields, 16, header)
    positions, colors = (np.ascontiguousarray(a) for a in (cloud.positions, cloud.colors))
    packing.pack_points(positions, colors, data.view('<f4'))
    return message


def columns_to_message(columns: Mapping[str, NDArray], header: Header) -> PointCloud2:
    """Write named columns (N,) of any PointField datatype, packed in the given order."""
    dtype = np.dtype([(name, column.dtype.newbyteorder('<')) for name, column in columns.items()])
    offsets = {name: dtype.fields[name][1] for name in columns} if dtype.fields else {}
    fields = [_field(name, offsets[name], _DATATYPES[columns[name].dtype]) for name in columns]
    count = len(next(iter(columns.values())))
    message, data = _message(count, fields, dtype.itemsize, header)
    for name, column in columns.items():
        data.view(dtype)[name] = column
    return message


def _field(name: str, offset: int, datatype: int) -> PointField:
    return PointField(name=name, offset=offset, datatype=datatype, count=1)


def _message(
    count: int, fields: list[PointField], point_step: int, header: Header
) -> tuple[PointCloud2, NDArray[np.uint8]]:
    """Make a cloud of zeros, and return its bytes too."""
    message = PointCloud2(header=header, fields=fields, height=1, width=count)
    message.point_step, message.row_step = point_step, count * point_step
    message.is_bigendian, message.is_dense = False, True
    return message, make_data(message, message.row_step)
