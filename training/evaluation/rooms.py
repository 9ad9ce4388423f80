"""Simulated rooms as a benchmark: the map that a robot would have, with the truth about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lift_gs_ros.geometry import Box, PointCloud, transform_points
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.rooms import make_room
from lift_gs_ros.simulation.sequence import DEFAULT_CAMERA, RoomSequence

FRAMES = 60
IMAGE_SIZE = (320, 240)
LABEL_STRIDE = 3  # every so many-th pixel labels the map
LABEL_DISTANCE = 0.08  # metres; a map point farther from all labelled pixels has no label
MIN_POINTS = 30  # of an object in the map; one that was hardly seen can not be asked for


@dataclass(frozen=True)
class EvaluationRoom:
    """A fused room: what the model gets, and the instance of every point for the metrics."""

    room: Room
    cloud: PointCloud
    instance_ids: NDArray[np.int32]  # (N,) object > 0, floor and walls < 0, unknown 0
    number: int = 1  # of rooms, where it is several in one map (``houses.py``)

    def mask(self, instance_id: int) -> NDArray[np.bool_]:
        """Points (N,) of an object."""
        return self.instance_ids == instance_id

    def box(self, instance_id: int) -> Box:
        """Box through the extreme corners of the object's points in the map."""
        return Box.from_points(self.cloud.positions[self.mask(instance_id)])

    @property
    def visible_ids(self) -> list[int]:
        """Objects that the map holds enough of."""
        ids, counts = np.unique(self.instance_ids, return_counts=True)
        return [int(i) for i, count in zip(ids, counts) if i > 0 and count >= MIN_POINTS]


def evaluation_sequence(room: Room) -> RoomSequence:
    """Return the frames from which a room's map is fused."""
    return RoomSequence(room, FRAMES, DEFAULT_CAMERA.resized(*IMAGE_SIZE), seed=room.seed)


def evaluation_room(seed: int, split: str = 'test', voxel_size: float = 0.05) -> EvaluationRoom:
    """Fuse a room from noisy frames; the same arguments give the same room.

    A point's instance is that of the nearest pixel of the true depth images, which is how labels
    of a mesh come to its points; it knows nothing of any prediction.
    """
    room = make_room(seed, split)
    sequence = evaluation_sequence(room)
    voxel_map = VoxelMap(voxel_size)
    points, ids = [], []
    for index in range(len(sequence)):
        view = sequence.view(index)
        voxel_map.integrate(view.frame)
        surface = view.frame.camera.unproject(view.clean_depth)[::LABEL_STRIDE, ::LABEL_STRIDE]
        seen = view.clean_depth[::LABEL_STRIDE, ::LABEL_STRIDE] > 0
        points.append(transform_points(view.frame.world_from_camera, surface[seen]))
        ids.append(view.instance_ids[::LABEL_STRIDE, ::LABEL_STRIDE][seen])
    cloud = voxel_map.to_point_cloud()
    distance, nearest = cKDTree(np.concatenate(points)).query(cloud.positions, workers=-1)
    labels = np.concatenate(ids)[nearest]
    labels[distance > LABEL_DISTANCE] = 0
    return EvaluationRoom(room, cloud, labels.astype(np.int32))
