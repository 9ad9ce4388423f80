"""A ScanNet scene as it is released, written from a simulated room, for tests of its readers."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lift_gs_ros.geometry import invert_transform
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.solids import Mesh, rotation_z

SPACING = 0.03  # metres between vertices; ScanNet's decimated meshes have some 2 cm
LABEL_MAP = """id\traw_category\tcategory\tcount\tnyu40id\tnyuClass
2\tchair\tchair\t4646\t5\tchair
4\ttable\ttable\t1170\t7\ttable
1\twall\twall\t8277\t1\twall
22\tbooks\tbook\t1678\t23\tbooks
3\tfloor\tfloor\t1553\t2\tfloor
1357\tball pit\tball pit\t1\t40\t
"""


@dataclass(frozen=True)
class WrittenScene:
    """A folder as ScanNet has it, and what it was written from."""

    folder: Path
    vertices: np.ndarray  # (V, 3) metres, axis-aligned as the room is
    object_ids: np.ndarray  # (V,) -1 where there is none
    labels: dict[int, str]


def write_scannet_scene(scans: Path, room: Room, name: str = 'scene0000_00') -> WrittenScene:
    """Write a room as a scene whose mesh stands askew, as before ScanNet's axis alignment.

    Objects count from 0: the room's, then the floor. One wall, unannotated, stands for all.
    """
    things = [(o.instance_id - 1, o.kind, o.mesh) for o in room.objects]
    floor, wall = room.structure[:2]
    things.append((len(room.objects), 'floor', floor.mesh))
    things.append((-1, '', wall.mesh))
    rng = np.random.default_rng(room.seed)
    parts = [_surface(mesh, rng) for _, _, mesh in things]
    vertices = np.concatenate([points for points, _ in parts])
    colors = np.concatenate([color for _, color in parts])
    ids = np.repeat([number for number, _, _ in things], [len(points) for points, _ in parts])
    labels = {number: label for number, label, _ in things if number >= 0}
    alignment = np.eye(4)
    alignment[:3, :3], alignment[:3, 3] = rotation_z(0.4), [1.0, -2.0, 0.1]
    askew = invert_transform(alignment)
    write_scene_files(
        scans / name, vertices @ askew[:3, :3].T + askew[:3, 3], colors, ids, labels, alignment
    )
    return WrittenScene(scans / name, vertices, ids, labels)


def write_scene_files(folder: Path, vertices, colors, ids, labels, alignment=None) -> None:
    """Write mesh, segments, objects and meta data; each object is several segments."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_mesh(folder / f'{folder.name}_vh_clean_2.ply', vertices, colors)
    # Segments: pieces of half a metre of each object, under numbers with gaps, as ScanNet's are.
    cells = np.column_stack([ids, np.floor(vertices * 2)]).astype(int)
    _, segments = np.unique(cells, axis=0, return_inverse=True)
    segments = segments.reshape(-1) * 7 + 3
    segs = {
        'params': {'segMinVerts': '20'},
        'sceneId': folder.name,
        'segIndices': segments.tolist(),
    }
    (folder / f'{folder.name}_vh_clean_2.0.010000.segs.json').write_text(json.dumps(segs))
    groups = [
        {
            'id': int(number),
            'objectId': int(number),
            'segments': np.unique(segments[ids == number]).tolist(),
            'label': label,
        }
        for number, label in labels.items()
    ]
    aggregation = {'sceneId': f'scannet.{folder.name}', 'appId': 'Aggregator.v2'}
    (folder / f'{folder.name}.aggregation.json').write_text(
        json.dumps(aggregation | {'segGroups': groups})
    )
    if alignment is not None:
        numbers = ' '.join(f'{value:.6f}' for value in np.ravel(alignment))
        (folder / f'{folder.name}.txt').write_text(
            f'axisAlignment = {numbers} \ncolorHeight = 968\nsceneType = Office\n'
        )


def _write_mesh(path: Path, vertices, colors) -> None:
    """Binary PLY, colours with alpha, faces after the vertices."""
    names = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
    names += [(name, 'u1') for name in ('red', 'green', 'blue', 'alpha')]
    rows = np.zeros(len(vertices), names)
    for axis, name in enumerate('xyz'):
        rows[name] = vertices[:, axis]
    for channel, name in enumerate(('red', 'green', 'blue')):
        rows[name] = np.round(colors[:, channel] * 255)
    rows['alpha'] = 255
    faces = np.zeros(1, [('count', 'u1'), ('indices', '<i4', 3)])
    faces['count'], faces['indices'] = 3, [0, 1, 2]
    types = {'<f4': 'float', 'u1': 'uchar'}
    header = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(rows)}']
    header += [f'property {types[kind]} {name}' for name, kind in names]
    header += ['element face 1', 'property list uchar int vertex_indices', 'end_header', '']
    path.write_bytes('\n'.join(header).encode() + rows.tobytes() + faces.tobytes())


def _surface(mesh: Mesh, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Spread points (N, 3) over a mesh's triangles, with their colours (N, 3)."""
    corners = mesh.vertices[mesh.triangles].astype(float)
    edges = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
    triangles = rng.choice(
        len(areas), int(np.ceil(areas.sum() / SPACING**2)), p=areas / areas.sum()
    )
    u, v = rng.uniform(size=(2, len(triangles), 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    points = corners[triangles, 0] + u * edges[triangles, 0] + v * edges[triangles, 1]
    return points, mesh.colors[triangles]
