"""A simulated camera's walk through a room as a sequence of RGB-D frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.simulation.camera import SimulatedCamera, SimulatedView
from lift_gs_ros.simulation.depth_noise import DepthNoise
from lift_gs_ros.simulation.paths import camera_path
from lift_gs_ros.simulation.raycasting import RoomScene
from lift_gs_ros.simulation.room import Room

# A Kinect-like field of view of 61 by 48 degrees.
DEFAULT_CAMERA = Camera.from_focal(540.0, 540.0, 319.5, 239.5, 640, 480)
_SECOND = 1_000_000_000


class RoomSequence:
    """Posed RGB-D frames of a room, rendered when they are asked for, the same every time."""

    def __init__(
        self,
        room: Room,
        num_frames: int = 120,
        camera: Camera = DEFAULT_CAMERA,
        rate: float = 10.0,
        seed: int = 0,
        noise: DepthNoise | None = None,
        laps: int | None = None,  # through the room; see camera_path
    ) -> None:
        self.name = f'simulated room {room.seed} ({room.split})'
        self.rate = rate  # Hz
        self.room = room
        self.scene = RoomScene(room)
        self.path = camera_path(room, num_frames, seed, self.scene, laps)  # world_from_camera
        self._camera = SimulatedCamera(camera, noise)

    def __len__(self) -> int:
        return len(self.path)

    def view(self, index: int) -> SimulatedView:
        """Render one frame with its instance ids and clean depth; the first stamp is 1 s."""
        stamp = _SECOND + round(index * _SECOND / self.rate)
        return self._camera.view(self.scene, self.path[index], index, stamp)

    def __iter__(self) -> Iterator[RgbdFrame]:
        """Render the frames in order."""
        return (self.view(index).frame for index in range(len(self)))

    def labelled_frames(self) -> Iterator[tuple[RgbdFrame, NDArray[np.int32]]]:
        """Render the frames in order, each with its instance ids (H, W), see SimulatedView."""
        views = (self.view(index) for index in range(len(self)))
        return ((view.frame, view.instance_ids) for view in views)
