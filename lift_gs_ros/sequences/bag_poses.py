"""Where the camera of a recording was: from TF, odometry or pose messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lift_gs_ros.geometry import FloatArray
from lift_gs_ros.messages import frame_name, stamp_to_ns
from lift_gs_ros.sequences.bag_file import BagFile
from lift_gs_ros.sequences.bag_topics import POSE_TYPES, TF_TYPES, BagTopics, Topic, listing
from lift_gs_ros.sequences.trajectory import Trajectory
from lift_gs_ros.sequences.transforms import TransformTree

MAX_GAP = 0.5  # seconds between two messages to interpolate, as mapping_node does


@dataclass(frozen=True)
class CameraPoses:
    """Poses of the camera: a moving frame in the map, and TF from there to the camera."""

    tree: TransformTree
    map_frame: str  # that of the poses in TF
    moving: tuple[str, Trajectory] | None = None  # a frame and its poses; None: all is in TF

    def at(self, stamp: int, camera_frame: str) -> FloatArray:
        """``world_from_camera`` (4, 4) at a stamp; ValueError where there is none."""
        if self.moving is None:
            return self.tree.lookup(self.map_frame, camera_frame, stamp)
        frame, trajectory = self.moving
        pose = trajectory.at(stamp)
        if frame == camera_frame:
            return pose
        return pose @ self.tree.lookup(frame, camera_frame, stamp)


def find_poses(
    bag: BagFile, topics: list[Topic], wanted: BagTopics, camera_frame: str
) -> CameraPoses:
    """Read the poses of a bag: from TF where that moves the camera, else from the only pose topic.

    Raises ValueError where there are none, or several.
    """
    tree = read_tree(bag, topics)
    chosen = _pose_topic(topics, wanted.pose)
    map_frame = frame_name(wanted.map_frame) or tree.ancestors(camera_frame)[-1]
    in_tree = tree.connects(map_frame, camera_frame) and tree.moves(map_frame, camera_frame)
    if in_tree and not (wanted.pose and chosen):
        return CameraPoses(tree, map_frame)
    of_poses = [topic for topic in topics if topic.count and topic.is_a(POSE_TYPES)]
    if not chosen and len(of_poses) > 1:
        names = ', '.join(topic.name for topic in of_poses)
        raise ValueError(f'it has several topics of poses ({names}): say which with --pose')
    if not chosen:
        raise ValueError(
            f'it has no poses (no TF that moves the frame "{camera_frame}"'
            f'{" in " + wanted.map_frame if wanted.map_frame else ""}, no odometry, no pose '
            f'topic): record them, or run SLAM on it; it holds:\n{listing(topics)}'
        )
    return _from_topic(bag, chosen, tree, camera_frame)


def read_tree(bag: BagFile, topics: list[Topic]) -> TransformTree:
    """Read all transforms of a bag."""
    tree = TransformTree()
    transforms = [topic for topic in topics if topic.is_a(TF_TYPES)]
    for name, message in bag.messages(transforms):
        for transform in message.transforms:
            tree.add(transform, static=name.endswith('tf_static'))
    return tree


def _pose_topic(topics: list[Topic], wanted: str) -> Topic | None:
    """Topic of odometry or poses; None: TF."""
    of_poses = [topic for topic in topics if topic.count and topic.is_a(POSE_TYPES)]
    if wanted:
        named = [topic for topic in topics if topic.name == wanted and topic.count]
        if not named or not named[0].is_a((*POSE_TYPES, *TF_TYPES)):
            raise ValueError(f'it has no poses on --pose {wanted}; it holds:\n{listing(topics)}')
        return None if named[0].is_a(TF_TYPES) else named[0]
    return of_poses[0] if len(of_poses) == 1 else None


def _from_topic(bag: BagFile, topic: Topic, tree: TransformTree, camera_frame: str) -> CameraPoses:
    stamps, poses = [], []
    moving = camera_frame
    for _, message in bag.messages([topic]):
        stamps.append(stamp_to_ns(message.header.stamp))
        poses.append(_pose_values(message))
        moving = frame_name(getattr(message, 'child_frame_id', '')) or camera_frame
    if moving != camera_frame and not tree.connects(moving, camera_frame):
        raise ValueError(
            f'{topic.name} says where {moving} was and no transform from there to the camera '
            f'({camera_frame}) was recorded: record /tf_static'
        )
    return CameraPoses(tree, '', (moving, Trajectory(stamps, np.array(poses), MAX_GAP)))


def _pose_values(message: Any) -> list[float]:
    """Position and quaternion x y z w of an Odometry or of a pose with or without covariance."""
    pose = message.pose.pose if hasattr(message.pose, 'pose') else message.pose
    place, turn = pose.position, pose.orientation
    return [place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w]
