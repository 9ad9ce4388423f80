"""Build a cache of training samples from simulated rooms.

    python -m training.data.rooms --split train --rooms 300 --out runs/rooms_train

Each room becomes one file: the map that a robot would have fused from noisy frames, and posed
views with the masks and captions of an imperfect 2D teacher. No 3D label is stored. Rooms that are
there already are kept, so that a build that was stopped goes on: with other ``--views``, give
another ``--out``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.simulation.camera import SimulatedCamera
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.rooms import SPLITS, make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence
from lift_gs_ros.simulation.vocabulary import COLORS, HELD_OUT_PAIRS
from lift_gs_ros.simulation.words import nouns_of
from training.data.build import build_files
from training.data.labels import MIN_AREA_FRACTION, TeacherErrors, imperfect_masks
from training.data.room_cache import CachedRoom, CachedView, save_room

FUSED_SIZE = (240, 180)  # what the map is fused from
VIEW_SIZE = (160, 120)  # what supervises
GLANCE_SIZE = (40, 30)  # enough to tell how much a view shows
STRUCTURE = 10_000  # instance numbers of floor and walls begin here
WRONG_COLOR = 0.03  # share of captions with a wrong colour


def build_room(
    seed: int,
    split: str,
    views: int = 8,
    voxel_size: float = 0.05,
    errors: TeacherErrors | None = None,
) -> CachedRoom:
    """Simulate a room and what a 2D teacher says about it; the same arguments give the same room.

    Half of the rooms are fused in a frame that is turned by any angle, for walls seldom run along
    the axes of a robot's map.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), 29])
    room = make_room(seed, split)
    frames = int(rng.integers(45, 76))
    sequence = RoomSequence(room, frames, DEFAULT_CAMERA.resized(*FUSED_SIZE), seed=seed)
    turn = np.eye(4)
    if rng.uniform() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        cosine, sine = np.cos(angle), np.sin(angle)
        turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    cloud = fuse(sequence, voxel_size, turn)
    camera = SimulatedCamera(DEFAULT_CAMERA.resized(*VIEW_SIZE))
    cached = []
    for index in _informative(sequence, views):
        view = camera.view(sequence.scene, sequence.path[index], index)
        masks, captions = teacher_labels(room, view.instance_ids, errors or TeacherErrors(), rng)
        cached.append(
            CachedView(
                view.frame.camera,
                turn @ view.frame.world_from_camera,
                view.frame.color,
                masks,
                captions,
                cloud.positions,
            )
        )
    name = f'{split}_{seed:06d}'
    return CachedRoom(name, cloud.positions, cloud.colors, cached)


def _informative(sequence: RoomSequence, count: int) -> list[int]:
    """Choose the frames, of evenly spaced ones, that show the most things."""
    candidates = np.unique(np.linspace(0, len(sequence) - 1, 2 * count).round().astype(int))
    glance = SimulatedCamera(DEFAULT_CAMERA.resized(*GLANCE_SIZE))
    things = []
    for index in candidates:
        view = glance.view(sequence.scene, sequence.path[index], int(index))
        ids, areas = np.unique(view.instance_ids, return_counts=True)
        large = areas >= MIN_AREA_FRACTION * view.instance_ids.size
        things.append(int(((ids > 0) & large).sum()))
    return sorted(candidates[np.argsort(things, kind='stable')[-count:]].tolist())


def fuse(sequence: RoomSequence, voxel_size: float, world_from_sequence: NDArray) -> PointCloud:
    """Fuse all frames, in another world frame (4, 4), as the robot's mapping does."""
    voxel_map = VoxelMap(voxel_size)
    for frame in sequence:
        pose = world_from_sequence @ frame.world_from_camera
        voxel_map.integrate(replace(frame, world_from_camera=pose))
    return voxel_map.to_point_cloud()


def teacher_labels(
    room: Room, ids: NDArray[np.int32], errors: TeacherErrors, rng: np.random.Generator
) -> tuple[NDArray[np.int16], list[str]]:
    """What an imperfect 2D teacher says about an image, given its true instance ids (H, W).

    Returns the index of each pixel's mask (H, W), -1 where it saw none, and each mask's caption.
    """
    masks, sources = imperfect_masks(_instances(ids), errors, rng)
    return masks, [_caption(room, int(source), rng) for source in sources]


def with_structure(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give floor and walls, below 0 in the simulation's ids, numbers above ``STRUCTURE``."""
    return np.where(ids < 0, STRUCTURE - ids, ids).astype(np.int32)


def structure_name(room: Room, instance: int) -> str:
    """Name what has such a number: floor or wall."""
    return next(s.name for s in room.structure if s.structure_id == STRUCTURE - instance)


def _instances(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number what a teacher masks; -1 where nothing is."""
    return np.where(ids == 0, -1, with_structure(ids))


def _caption(room: Room, instance: int, rng: np.random.Generator) -> str:
    if instance >= STRUCTURE:
        return structure_name(room, instance)
    thing = room.object(instance)
    color = thing.color_name
    if rng.uniform() < WRONG_COLOR:
        color = str(rng.choice([c for c in COLORS if (c, thing.kind) not in HELD_OUT_PAIRS]))
    specific = [noun.text for noun in nouns_of(thing) if noun.variants]
    return f'{color} {rng.choice(specific) if specific else thing.kind}'


def build_and_save(path: Path, seed: int, split: str, views: int) -> None:
    """Build one file of the cache."""
    save_room(path, build_room(seed, split, views))


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--split', choices=SPLITS, default='train')
    parser.add_argument('--rooms', type=int, default=300)
    parser.add_argument('--first', type=int, default=0, help='seed of the first room')
    parser.add_argument('--views', type=int, default=8, help='posed views per room')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--workers', type=int, default=2)
    arguments = parser.parse_args()
    split, seeds = arguments.split, range(arguments.first, arguments.first + arguments.rooms)
    jobs = [
        (arguments.out / f'{split}_{seed:06d}.npz', seed, split, arguments.views) for seed in seeds
    ]
    build_files(build_and_save, jobs, arguments.workers)


if __name__ == '__main__':
    main()
