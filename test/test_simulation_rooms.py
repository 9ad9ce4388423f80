import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lift_gs_ros.simulation.furniture import VARIANTS, build_shape
from lift_gs_ros.simulation.raycasting import RoomScene
from lift_gs_ros.simulation.rooms import SPLITS, is_held_out, make_room
from lift_gs_ros.simulation.vocabulary import (
    COLORS,
    HELD_OUT_PAIRS,
    HELD_OUT_VARIANTS,
    KINDS,
    nearest_color,
)

ROOMS = {split: [make_room(seed, split) for seed in range(20)] for split in SPLITS}
ALL_ROOMS = [room for rooms in ROOMS.values() for room in rooms]

DIGEST = """
import hashlib
from lift_gs_ros.simulation.rooms import make_room
digest = hashlib.sha256()
for seed in range(4):
    room = make_room(seed, 'test')
    for part in (*room.objects, *room.structure):
        for array in (part.mesh.vertices, part.mesh.triangles, part.mesh.colors):
            digest.update(array.tobytes())
    looks = [(o.kind, o.variant, o.color_name, o.support) for o in room.objects]
    digest.update(repr(looks).encode())
print(digest.hexdigest())
"""


def test_a_seed_gives_the_same_bytes_whatever_the_hash_seed_of_the_process():
    digests = [
        subprocess.run(
            [sys.executable, '-c', DIGEST],
            env={'PYTHONHASHSEED': seed, 'PYTHONPATH': '.'},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ('1', '2')
    ]
    assert digests[0] == digests[1] != ''


def test_room_0_of_the_test_split_is_the_one_that_published_numbers_are_about():
    room = make_room(0, 'test')
    assert ' '.join(f'{o.color_name}-{o.kind}' for o in room.objects) == (
        'blue-door purple-rug black-sofa grey-table brown-chair red-bookshelf grey-lamp '
        'green-plant green-picture blue-window brown-pillow white-mug purple-book green-bottle '
        'blue-laptop white-mug'
    )
    total = sum(o.position for o in room.objects)
    assert np.allclose(total, [6.52, -3.32, 7.03], atol=0.01)


def test_rooms_hold_8_to_16_objects_of_many_kinds_a_door_first():
    kinds = {o.kind for room in ALL_ROOMS for o in room.objects}
    assert len(kinds) >= 20
    for room in ALL_ROOMS:
        assert 8 <= len(room.objects) <= 16
        assert [o.instance_id for o in room.objects] == list(range(1, len(room.objects) + 1))
        assert [o.kind for o in room.objects].count('door') >= 1
        assert room.objects[0].kind == 'door'


def test_every_kind_has_three_variants_and_its_named_colour_dominates_what_is_painted():
    assert set(KINDS) == set(VARIANTS)
    for kind, variants in VARIANTS.items():
        assert len(variants) >= 3, kind
        for variant in variants:
            agreed = []
            for color in KINDS[kind]:
                mesh = build_shape(kind, variant, color, np.random.default_rng(0)).mesh
                areas = _areas(mesh)
                named = dict.fromkeys(COLORS, 0.0)
                for rgb, area in zip(mesh.colors, areas):
                    named[nearest_color(rgb)] += area
                agreed.append(max(named, key=named.get) == color)
            assert np.mean(agreed) >= 0.75, (kind, variant)


def test_solids_are_closed_and_face_outwards():
    for kind, variants in VARIANTS.items():
        for variant in variants:
            mesh = build_shape(kind, variant, KINDS[kind][0], np.random.default_rng(1)).mesh
            corners = mesh.vertices[mesh.triangles].astype(float)
            signed = np.einsum('ti,ti->t', corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
            assert (np.bincount(mesh.parts, signed) > 0).all(), (kind, variant)


def _areas(mesh):
    corners = mesh.vertices[mesh.triangles].astype(float)
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.linalg.norm(sides, axis=1) / 2


def _solids(o):
    """Corners of each convex solid of an object, and the normals of its faces."""
    corners = o.mesh.vertices[o.mesh.triangles].astype(float)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    for part in range(o.mesh.parts.max() + 1):
        own = o.mesh.parts == part
        yield corners[own].reshape(-1, 3), normals[own]


def _penetration(a, b):
    """The least depth, over the face normals of both, by which two convex solids overlap."""
    depth = np.inf
    for axes in (a[1], b[1]):
        p, q = a[0] @ axes.T, b[0] @ axes.T
        overlap = np.minimum(p.max(0), q.max(0)) - np.maximum(p.min(0), q.min(0))
        depth = min(depth, overlap.min())
    return depth


def test_no_two_objects_interpenetrate():
    for room in ALL_ROOMS:
        solids = [list(_solids(o)) for o in room.objects]
        for i, a in enumerate(room.objects):
            for j, b in enumerate(room.objects[:i]):
                if (a.box.lower > b.box.upper).any() or (b.box.lower > a.box.upper).any():
                    continue
                worst = max(_penetration(p, q) for p in solids[i] for q in solids[j])
                assert worst < 1e-3, (room.seed, room.split, a.kind, b.kind, worst)


def test_objects_are_inside_the_outline_and_walls_are_in_the_middle_of_voxels():
    for room in ALL_ROOMS:
        outline = room.outline
        assert np.allclose(outline.polygon, np.round(outline.polygon / 0.05) * 0.05)
        assert np.abs((outline.lower + outline.upper) / 2).max() < 0.5
        size = outline.upper - outline.lower
        assert 3.5 <= size.min() <= size.max() <= 8
        for o in room.objects:
            corners = o.mesh.vertices[:, :2]
            assert (corners > outline.lower).all()
            assert (corners < outline.upper).all()
            if outline.notch is not None:
                low, high = outline.notch.min(0), outline.notch.max(0)
                assert not ((corners > low) & (corners < high)).all(axis=1).any()
    assert any(room.outline.notch is not None for room in ALL_ROOMS)


def test_what_stands_on_something_rests_on_it():
    supported = 0
    for room in ALL_ROOMS:
        for o in room.objects:
            base = o.box.lower[2]
            if o.support is None:
                assert abs(base) < 1e-4 or o.kind in ('window', 'picture')
                continue
            supported += 1
            support = room.object(o.support)
            scene = RoomScene(replace(room, objects=(support,), structure=()))
            # From just below its base, within what carries it (cushions have gaps between them).
            spots = np.array([[x, y, -1e-3] for x in (0, 0.02) for y in (0, 0.03)])
            up = scene.cast(spots + [*o.position[:2], base], np.array([[0, 0, 1.0]]))
            near = (up.distance > 0.4e-3) & (up.distance < 1.1e-3)
            assert near.mean() >= 0.5, (room.seed, o.kind, support.kind)
            assert support.box.upper[2] <= base + 1e-4 or support.kind not in ('table', 'rug')
    assert supported > 30


def test_every_split_has_rooms_of_its_own():
    digests = [
        hashlib.sha256(b''.join(o.mesh.vertices.tobytes() for o in room.objects)).hexdigest()
        for room in ALL_ROOMS
    ]
    assert len(set(digests)) == len(ALL_ROOMS)


def test_held_out_looks_occur_in_test_rooms_only_and_often_there():
    for split in ('train', 'val'):
        for room in [*ROOMS[split], *(make_room(seed, split) for seed in range(100, 140))]:
            for o in room.objects:
                assert not is_held_out(o)
                assert (o.color_name, o.kind) not in HELD_OUT_PAIRS
                assert (o.kind, o.variant) not in HELD_OUT_VARIANTS
    share = np.mean([is_held_out(o) for room in ROOMS['test'] for o in room.objects])
    assert 0.1 < share < 0.35


def test_held_out_looks_are_ones_that_can_be_built():
    assert all(color in KINDS[kind] for color, kind in HELD_OUT_PAIRS)
    assert all(variant in VARIANTS[kind] for kind, variant in HELD_OUT_VARIANTS)
    for kind, variants in VARIANTS.items():
        assert len([v for v in variants if (kind, v) not in HELD_OUT_VARIANTS]) >= 2


def test_a_wrong_split_or_seed_is_refused_with_what_was_expected():
    with pytest.raises(ValueError, match="'training', expected one of 'train', 'val', 'test'"):
        make_room(0, 'training')
    with pytest.raises(ValueError, match='seed is -1'):
        make_room(-1)
