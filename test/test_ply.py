import numpy as np
import pytest

from lift_gs_ros.mapping.ply import read_ply

XYZ = 'property float x\nproperty float y\nproperty float z\n'
RGB = 'property float r\nproperty float g\nproperty float b\n'
POSITIONS = np.array([[1, 2, 3], [-0.5, 0.25, 0]], np.float32)


def header(kind: str, properties: str, count: int = 2, before: str = '', after: str = '') -> bytes:
    text = f'ply\nformat {kind} 1.0\ncomment by hand\n{before}element vertex {count}\n'
    return f'{text}{properties}{after}end_header\n'.encode()


@pytest.fixture
def write(tmp_path):
    def write(*parts: bytes):
        path = tmp_path / 'map.ply'
        path.write_bytes(b''.join(parts))
        return path

    return write


@pytest.mark.parametrize('kind', ['ascii', 'binary_little_endian', 'binary_big_endian'])
@pytest.mark.parametrize(
    ('type_name', 'code', 'full'),
    [('uchar', 'u1', 255), ('uint8', 'u1', 255), ('ushort', 'u2', 65535), ('float', 'f4', 1)],
)
def test_ascii_and_binary_files_with_colours_of_any_type_are_read(
    write, kind, type_name, code, full
):
    properties = 'property uchar quality\nproperty double z\n' + ''.join(
        f'property {type_name} {name}\n' for name in ('blue', 'green', 'red')
    )
    properties += 'property float x\nproperty float y\n'
    colors = [('blue', code), ('green', code), ('red', code)]
    points = np.zeros(2, [('quality', 'u1'), ('z', 'f8'), *colors, ('x', 'f4'), ('y', 'f4')])
    points['x'], points['y'], points['z'] = POSITIONS.T
    points['red'][0] = points['blue'][1] = full
    if kind == 'ascii':
        body = '\n'.join(' '.join(map(str, row)) for row in points.tolist()).encode() + b'\n'
    else:
        order = '<' if 'little' in kind else '>'
        body = points.astype(points.dtype.newbyteorder(order)).tobytes()
    face = 'element face 1\nproperty list uchar int vertex_indices\n'
    cloud = read_ply(write(header(kind, properties, after=face), body, b'\x03rest'))
    np.testing.assert_array_equal(cloud.positions, POSITIONS)
    np.testing.assert_array_equal(cloud.colors, [[1, 0, 0], [0, 0, 1]])


def test_a_file_without_colours_is_grey_and_other_elements_before_the_vertices_are_skipped(write):
    before = 'element camera 2\nproperty int id\nproperty float focal\n'
    path = write(header('binary_little_endian', XYZ, before=before), bytes(16), POSITIONS.tobytes())
    cloud = read_ply(path)
    np.testing.assert_array_equal(cloud.positions, POSITIONS)
    assert (cloud.colors == 0.5).all()


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'', 'does not begin with "ply"'),
        (b'solid cube', 'does not begin with "ply"'),
        (b'ply\nformat ascii 1.0\nelement vertex 2\n', 'ends with a line "end_header"'),
        (header('binary_little_endian', XYZ).replace(b'\n', b'\r') + b'\n' * 99, 'with a line'),
        (header('ascii', XYZ + RGB) + b'1 2 3 0 0 0\n1 2 3 0 99 0\n', 'floats up to 99, expected'),
        (header('binary', XYZ), 'its format is "binary", expected one of ascii'),
        (header('ascii', 'property colour x\n'), 'property x has type colour'),
        (header('ascii', XYZ + 'property float x\n'), 'property x twice'),
        (header('ascii', 'hello\n'), 'the header has the line "hello"'),
        (header('ascii', XYZ, count=0), 'holds no points'),
        (header('ascii', XYZ) + b'1 2 3\n', 'announces 2 points and carries 1 lines'),
        (header('ascii', XYZ) + b'1 2 3\n1 2\n', 'requires 3 columns but 2'),
        (header('ascii', XYZ) + b'1 2 3\n1 2 x\n', 'could not convert'),
        (header('ascii', 'property float x\nproperty float y\n'), "have .'x', 'y'., expected x,"),
        (header('ascii', XYZ + 'property list uchar int rest\n'), 'vertex holds lists'),
        (header('binary_little_endian', XYZ) + bytes(23), '2 points of 12 bytes and carries 23'),
        (header('binary_little_endian', XYZ, count=4 * 10**12) + bytes(24), 'it is truncated'),
        (b'ply\nformat ascii 1.0\nelement face 1\nend_header\n', 'expected vertex among them'),
    ],
)
def test_what_is_no_whole_ply_file_is_refused_with_the_reason(write, content, match):
    path = write(content)
    with pytest.raises(ValueError, match=match) as refused:
        read_ply(path)
    assert str(refused.value).startswith(f'{path} cannot be read as a PLY file: ')


def test_a_comment_does_not_end_the_header(write):
    content = header('ascii', 'comment here is no end_header yet\n' + XYZ) + b'1 2 3\n4 5 6\n'
    assert read_ply(write(content)).positions.tolist() == [[1, 2, 3], [4, 5, 6]]
