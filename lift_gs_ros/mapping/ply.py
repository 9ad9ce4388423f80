"""Point clouds from PLY files.

A reader of our own: Open3D's (0.20) takes colours that are floats for bytes or, in its newer
interface, returns whatever the memory held for the points that a truncated file lacks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import PointCloud

TYPES = {
    **dict.fromkeys(('char', 'int8'), 'i1'),
    **dict.fromkeys(('uchar', 'uint8'), 'u1'),
    **dict.fromkeys(('short', 'int16'), 'i2'),
    **dict.fromkeys(('ushort', 'uint16'), 'u2'),
    **dict.fromkeys(('int', 'int32'), 'i4'),
    **dict.fromkeys(('uint', 'uint32'), 'u4'),
    **dict.fromkeys(('float', 'float32'), 'f4'),
    **dict.fromkeys(('double', 'float64'), 'f8'),
}
BYTE_ORDERS = {'ascii': '', 'binary_little_endian': '<', 'binary_big_endian': '>'}
COLORS = (('red', 'green', 'blue'), ('r', 'g', 'b'))
LONGEST_HEADER = 1 << 16  # bytes
END_HEADER = re.compile(rb'^end_header *\r?\n', re.MULTILINE)
BRIGHTEST = 2.0  # of colours that are floats; what is a little above 1 is clipped
GREY = 0.5


@dataclass
class _Element:
    name: str
    count: int
    properties: dict[str, str] = field(default_factory=dict)  # name: numpy's type, or 'list'


def read_ply(path: str | Path) -> PointCloud:
    """Read the vertices of a PLY file: x, y, z in metres and colours, grey where there are none.

    ASCII or binary, lines of the header ended by LF or CR LF; colours of bytes from 0 to 255, of
    16 bits, or floats from 0 to 1. Faces and other properties are not looked at. Raises ValueError,
    with the reason, for a file that is no PLY, is damaged, or holds no points.
    """
    data = Path(path).read_bytes()
    try:
        return _read(data)
    except ValueError as error:
        raise ValueError(f'{path} cannot be read as a PLY file: {error}') from error


def _read(data: bytes) -> PointCloud:
    kind, elements, body = _parse_header(data)
    names = [element.name for element in elements]
    if 'vertex' not in names:
        raise ValueError(f'it has the elements {names}, expected vertex among them')
    before, vertex = elements[: names.index('vertex')], elements[names.index('vertex')]
    for element in [*before, vertex]:
        if 'list' in element.properties.values():
            raise ValueError(f'the element {element.name} holds lists, before the end of vertices')
    for name in ('x', 'y', 'z'):
        if name not in vertex.properties:
            raise ValueError(f'vertices have {list(vertex.properties)}, expected x, y and z')
    if vertex.count < 1:
        raise ValueError('it holds no points')
    read = _read_ascii if kind == 'ascii' else _read_binary
    points = read(data[body:], before, vertex, BYTE_ORDERS[kind])
    with np.errstate(over='ignore'):
        positions = np.stack([points[name] for name in 'xyz'], axis=-1).astype(np.float32)
    return PointCloud(positions, _colors(points))


def _parse_header(data: bytes) -> tuple[str, list[_Element], int]:
    """Return the format, the elements, and where the header ends."""
    end = END_HEADER.search(data, 0, LONGEST_HEADER)
    if data[:3] != b'ply' or not end:
        raise ValueError(
            'it does not begin with "ply" and a header that ends with a line "end_header"'
        )
    kind, elements = '', []
    for line in data[: end.start()].decode('ascii', 'replace').splitlines()[1:]:
        words = line.split()
        if words[:1] == ['format'] and len(words) == 3:
            kind = words[1]
        elif words[:1] == ['element'] and len(words) == 3 and words[2].isdecimal():
            elements.append(_Element(words[1], int(words[2])))
        elif words[:1] == ['property'] and len(words) >= 3 and elements:
            is_list = words[1] == 'list'
            if not is_list and words[1] not in TYPES:
                raise ValueError(f'property {words[-1]} has type {words[1]}, expected {set(TYPES)}')
            if words[-1] in elements[-1].properties:
                raise ValueError(f'{elements[-1].name} has the property {words[-1]} twice')
            elements[-1].properties[words[-1]] = 'list' if is_list else TYPES[words[1]]
        elif words and words[0] not in ('comment', 'obj_info'):
            raise ValueError(f'the header has the line "{line[:80]}"')
    if kind not in BYTE_ORDERS:
        raise ValueError(f'its format is "{kind}", expected one of {", ".join(BYTE_ORDERS)}')
    return kind, elements, end.end()


def _dtype(element: _Element, order: str) -> np.dtype:
    return np.dtype([(name, order + code) for name, code in element.properties.items()])


def _read_binary(body: bytes, before: list[_Element], vertex: _Element, order: str) -> NDArray:
    begin = sum(element.count * _dtype(element, order).itemsize for element in before)
    dtype = _dtype(vertex, order)
    if begin + vertex.count * dtype.itemsize > len(body):
        raise ValueError(
            f'it announces {vertex.count} points of {dtype.itemsize} bytes and carries '
            f'{max(len(body) - begin, 0)} bytes: it is truncated'
        )
    return np.frombuffer(body, dtype, vertex.count, begin)


def _read_ascii(body: bytes, before: list[_Element], vertex: _Element, _order: str) -> NDArray:
    lines = body.split(b'\n')
    begin = sum(element.count for element in before)
    rows = [line for line in lines[begin : begin + vertex.count] if line.strip()]
    if len(rows) < vertex.count:
        raise ValueError(
            f'it announces {vertex.count} points and carries {len(rows)} lines: it is truncated'
        )
    return np.loadtxt(rows, _dtype(vertex, ''), ndmin=1, encoding='ascii')


def _colors(points: NDArray) -> NDArray[np.float32]:
    names = next((names for names in COLORS if set(names) <= set(points.dtype.names or ())), None)
    if names is None:
        return np.full((len(points), 3), GREY, np.float32)
    kind = points.dtype[names[0]]
    scale = 1.0 if kind.kind == 'f' else 65535.0 if kind.itemsize == 2 else 255.0
    colors = np.stack([points[name] for name in names], axis=-1).astype(np.float32)
    too_bright = colors[colors > BRIGHTEST]
    if kind.kind == 'f' and len(too_bright):
        raise ValueError(
            f'its colours are floats up to {too_bright.max():g}, expected 0 to 1: write them as '
            'uchar, or divide them by 255'
        )
    return (colors / np.float32(scale)).clip(0, 1)
