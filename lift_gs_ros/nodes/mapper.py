"""From a pair of images to changed chunks of the map: what mapping_node's worker does."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.grounding.instances import MapSummary
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.keyframes import KeyframeSelector
from lift_gs_ros.mapping.map_file import MapFile
from lift_gs_ros.mapping.synchronizer import CLOCK_RESTART_NS
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.nodes.conversions import (
    NANOSECONDS,
    ChunkUpdate,
    camera_from_info,
    frame_name,
    is_distorted,
    random_map_id,
    read_color,
    read_depth,
    stamp_to_ns,
)
from lift_gs_ros.nodes.depth_registration import DepthRegistration
from lift_gs_ros.nodes.pose_input import PoseInput
from lift_gs_ros.nodes.poses import (
    JumpDetector,
    PoseUnavailableError,
    wait_for_pose,
)
from lift_gs_ros.nodes.reporting import Report

# So many frames in a row before a clock that went back is believed: one may be a bad stamp.
FRAMES_OF_A_NEW_CLOCK = 5


@dataclass(frozen=True)
class ImagePair:
    """Colour and depth of one moment, as they came."""

    color: Image | CompressedImage
    depth: Image | CompressedImage
    arrived: float = field(default_factory=time.monotonic)


class Mapper:
    """Owns the map. Not thread-safe: one worker calls it.

    ``values`` are the parameters of mapping_node and may change while it runs.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        poses: PoseInput,
        camera_info: Callable[[], CameraInfo | None],  # the newest; None: none has come yet
        report: Report,
        stopped: threading.Event,
        registration: DepthRegistration | None = None,  # None: the driver has registered depth
    ) -> None:
        self._registration = registration
        self._values, self._poses, self._camera_info = values, poses, camera_info
        self._report, self._stopped = report, stopped
        self.map = VoxelMap(
            voxel_size=values['voxel_size'],
            chunk_size=values['chunk_size'],
            max_voxels=values['max_voxels'],
            min_depth=values['min_depth'],
            max_depth=values['max_depth'],
            carve_after=values['carve_after'],
            min_support=values['min_support'],
        )
        self._keyframes = KeyframeSelector(
            translation=values['keyframe_translation'],
            rotation=values['keyframe_rotation'],
            min_interval=values['keyframe_min_interval'],
            max_interval=values['keyframe_max_interval'] or math.inf,
        )
        self._jumps = JumpDetector()
        # Changed or gone, and not sent yet; those that have waited longest come first.
        self.pending: dict[ChunkKey, None] = {}
        self.map_id = random_map_id()
        self._warned: set[str] = set()
        self.last_stamp = 0  # nanoseconds, of the newest keyframe
        self.last_pose: FloatArray = np.eye(4)  # world_from_camera of the same
        self._clock = self._frames_behind = 0
        self.summary = MapSummary()

    def warm_up(self) -> None:
        """Compile what fusion needs before the first frame waits for it (seconds, once)."""
        camera = Camera.from_focal(80.0, 80.0, 79.5, 59.5, 160, 120)
        color = np.zeros((120, 160, 3), np.uint8)
        scratch = VoxelMap()
        # A wall that steps back: voxels are added, found again, and seen through.
        for stamp, metres in enumerate((1.5, 1.5, 2.0, 2.5)):
            depth = np.full((120, 160), metres, np.float32)
            scratch.integrate(RgbdFrame(stamp, color, depth, camera, np.eye(4)))
        scratch.to_point_cloud()

    def fuse(self, pair: ImagePair) -> None:
        """Fuse a pair where it is a keyframe; the chunks that change are added to ``pending``.

        What is wrong with a pair is reported, and the map stays as it was.
        """
        try:
            self._fuse(pair)
        except PoseUnavailableError as error:
            if not self._stopped.is_set():
                self._report.problem('frames_without_pose', error)
        except ValueError as error:
            self._report.problem('bad_frames', error)

    def _fuse(self, pair: ImagePair) -> None:
        stamp = stamp_to_ns(pair.color.header.stamp)
        deadline = pair.arrived + self._values['pose_timeout']
        camera = self._read_camera(deadline)
        begin = time.monotonic()
        color = read_color(pair.color)
        if color.shape[:2] != (camera.height, camera.width):  # depth would be made of that size
            raise ValueError(
                f'color is {color.shape[1]}x{color.shape[0]}, its camera info says '
                f'{camera.width}x{camera.height}'
            )
        depth = self._read_depth(pair, camera)
        decoded = time.monotonic()
        pose = self._pose(stamp, pair.color.header.frame_id, deadline)
        frame = RgbdFrame(stamp, color, depth, camera, pose)
        if not frame.depth.any():
            raise ValueError('depth holds no valid pixel (all are 0, NaN or inf)')
        self._check_clock(stamp)
        self._check_mount(frame_name(pair.color.header.frame_id))
        if not self._keyframes.is_keyframe(stamp, frame.world_from_camera):
            return
        posed = time.monotonic()
        evicted = self.map.evicted_chunks
        self.pending.update(dict.fromkeys(self.map.integrate(frame)))
        if (gone := self.map.evicted_chunks - evicted) > 0:
            self._report.problem(
                'full_maps',
                f'the map has reached max_voxels = {self.map.max_voxels}: {gone} chunks that were '
                'seen longest ago have left it',
            )
        self.last_stamp = self._clock = stamp
        self.last_pose = frame.world_from_camera
        self._summarise()
        self._report.count('keyframes')
        end = time.monotonic()
        for stage, seconds in (
            ('queue', begin - pair.arrived),
            ('decode', decoded - begin),
            ('pose', posed - decoded),
            ('fuse', end - posed),
            ('keyframe', end - pair.arrived),
        ):
            self._report.time(stage, seconds)
        self._check_jump(frame.world_from_camera)

    def _read_camera(self, deadline: float) -> Camera:
        # The first one may come just behind the first images.
        while (info := self._camera_info()) is None and time.monotonic() < deadline:
            if self._stopped.wait(0.005):
                break
        if info is None:
            raise ValueError('no camera_info has come yet')
        if is_distorted(info):
            self._warn_once(
                'distorted_camera_infos',
                'camera_info has lens distortion; rectified images are expected: if these are '
                'raw, rectify them (image_proc) or the map will be bent',
            )
        return camera_from_info(info)

    def _read_depth(self, pair: ImagePair, camera: Camera) -> NDArray[np.float32]:
        depth = read_depth(pair.depth)
        frames = frame_name(pair.color.header.frame_id), frame_name(pair.depth.header.frame_id)
        if self._registration is not None:
            return self._registration.register(depth, camera, *frames)
        if frames[0] != frames[1]:
            self._warn_once(
                'unregistered_depths',
                f"colour is in frame '{frames[0]}' and depth in '{frames[1]}': where the driver "
                'does not register depth to colour, set depth_registration, or colours will land '
                'on the wrong surfaces',
            )
        return depth

    def _check_mount(self, camera: str) -> None:
        child = self._poses.child_frame
        identity = self._values['base_from_camera'] == [0.0] * 6 + [1.0]
        if identity and child not in ('', camera):
            self._warn_once(
                'unmounted_cameras',
                f"odometry is about '{child}', the images are from '{camera}', and "
                'base_from_camera is the identity: if the camera is mounted elsewhere, or looks '
                'along another axis, set base_from_camera, or pose_source to tf',
            )

    def _warn_once(self, name: str, reason: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            self._report.problem(name, reason)

    def _check_jump(self, world_from_camera: FloatArray) -> None:
        threshold = self._values['jump_threshold']
        jump = self._jumps.check(world_from_camera, threshold)
        if jump is not None:
            self._report.problem(
                'pose_jumps',
                f'the camera moved {jump:.2f} m from one keyframe to the next (jump_threshold is '
                f'{threshold} m): a loop closure, or a lost track? What was mapped before may '
                'stand in the wrong place now; the service ~/reset starts a new map',
            )

    def _pose(self, stamp: int, frame_id: str, deadline: float) -> FloatArray:
        return wait_for_pose(self._poses.source, stamp, frame_id, deadline, self._stopped)

    def _check_clock(self, stamp: int) -> None:
        """Refuse a stamp that runs backwards; start a new map when the clock has started again."""
        if stamp >= self._clock:
            self._frames_behind = 0
            return
        behind = self._clock - stamp
        self._frames_behind += behind > CLOCK_RESTART_NS
        if self._frames_behind < FRAMES_OF_A_NEW_CLOCK:
            raise ValueError(
                f'stamp runs backwards: {behind / NANOSECONDS:.3f} s behind the last keyframe'
            )
        self._report.problem('clock_restarts', 'stamps started again: so does the map')
        self.reset()

    def reset(self) -> None:
        """Start a new map; the chunks that are gone are added to ``pending``."""
        self.send_all_again()
        self.map.reset()
        self._clock = 0
        self._begin_map()

    def restore(self, saved: MapFile) -> None:
        """Go on with a saved map; raises as ``VoxelMap.restore`` does, and all is as it was."""
        self.pending.update(dict.fromkeys(self.map.restore(saved)))
        self.last_stamp = saved.last_stamp or 0
        self._begin_map()

    def _begin_map(self) -> None:
        self.map_id = random_map_id()
        self._keyframes.reset()
        self._jumps.reset()
        self._frames_behind = 0
        self._summarise()

    def send_all_again(self) -> None:
        """Add all chunks to ``pending``."""
        self.pending.update(dict.fromkeys(self.map.chunk_keys()))

    def _summarise(self) -> None:
        chunks = len(self.map.chunk_keys())
        self.summary = MapSummary(self.map.version, self.map.num_voxels, chunks, self.map.keyframes)

    def chunk_update(self, key: ChunkKey) -> ChunkUpdate:
        """Return the newest state of a chunk, ready to be sent."""
        return ChunkUpdate(
            key=key,
            cloud=self.map.chunk(key),
            chunk_size=self.map.chunk_size,
            voxel_size=self.map.voxel_size,
            map=self.summary,
            stamp=self.last_stamp,
            frame_id=self._values['map_frame'],
            map_id=self.map_id,
        )
