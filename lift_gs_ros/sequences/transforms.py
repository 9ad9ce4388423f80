"""A tree of frames over time, as TF keeps it, but of a whole recording."""

from __future__ import annotations

from array import array
from functools import cached_property
from typing import Any

import numpy as np

from lift_gs_ros.geometry import FloatArray, invert_transform
from lift_gs_ros.messages import frame_name, stamp_to_ns
from lift_gs_ros.sequences.trajectory import Trajectory, pose_matrix


class _Edge:
    """The recorded transforms ``parent_from_child`` of one frame."""

    def __init__(self, parent: str, static: bool) -> None:
        self.parent = parent
        self.static = static
        self.stamps = array('q')
        self.values = array('d')  # x y z qx qy qz qw each; eight bytes a number: hours of TF fit

    def add(self, stamp: int, values: list[float]) -> None:
        self.stamps.append(stamp)
        self.values.extend(values)

    @cached_property
    def trajectory(self) -> Trajectory:
        return Trajectory(self.stamps, self.values)

    def at(self, stamp: int) -> FloatArray:
        if self.static:
            return pose_matrix(self.values[-7:])
        return self.trajectory.at(stamp)


class TransformTree:
    """Frames and what connects them; interpolated as tf2 does (there is no largest gap)."""

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}

    def add(self, message: Any, static: bool) -> None:
        """Take in a geometry_msgs/TransformStamped; frames with or without a leading slash.

        A frame that was given another parent during the recording keeps the first.
        """
        child = frame_name(message.child_frame_id)
        parent = frame_name(message.header.frame_id)
        edge = self._edges.setdefault(child, _Edge(parent, static))
        if edge.parent == parent and child != parent:
            place, turn = message.transform.translation, message.transform.rotation
            values = [place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w]
            edge.add(stamp_to_ns(message.header.stamp), values)

    def ancestors(self, frame: str) -> list[str]:
        """Return a frame, its parent, and so on to the root."""
        chain = [frame_name(frame)]
        while (edge := self._edges.get(chain[-1])) and edge.parent not in chain:
            chain.append(edge.parent)
        return chain

    def connects(self, target: str, source: str) -> bool:
        """Say whether there is a way between two frames at all."""
        return bool(set(self.ancestors(target)) & set(self.ancestors(source)))

    def moves(self, target: str, source: str) -> bool:
        """Say whether what lies between two connected frames changes with time."""
        between = set(self.ancestors(target)) ^ set(self.ancestors(source))
        return any(not self._edges[frame].static for frame in between if frame in self._edges)

    def lookup(self, target: str, source: str, stamp: int) -> FloatArray:
        """Transform (4, 4) ``target_from_source`` at a stamp; ValueError where there is none."""
        up_target, up_source = self.ancestors(target), self.ancestors(source)
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            raise ValueError(f'there is no transform between {target} and {source}')
        common_from_source = self._climb(up_source, common, stamp)
        return invert_transform(self._climb(up_target, common, stamp)) @ common_from_source

    def _climb(self, chain: list[str], ancestor: str, stamp: int) -> FloatArray:
        """Transform ``ancestor_from_frame`` of the first frame of a chain."""
        matrix = np.eye(4)
        for frame in chain[: chain.index(ancestor)]:
            try:
                matrix = self._edges[frame].at(stamp) @ matrix
            except ValueError as error:
                parent = self._edges[frame].parent
                raise ValueError(f'transform {parent} <- {frame}: {error}') from None
        return matrix
