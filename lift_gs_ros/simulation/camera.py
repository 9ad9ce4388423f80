"""A simulated RGB-D camera: colour, noisy depth and instance ids by ray casting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.simulation.depth_noise import DepthNoise
from lift_gs_ros.simulation.raycasting import Hits, RoomScene
from lift_gs_ros.simulation.room import Room
from lift_gs_ros.simulation.rooms import SPLITS

_AMBIENT = 0.54
_FILL = 0.12  # light from the camera's side, so that surfaces away from the lamps keep a shape


@dataclass(frozen=True)
class SimulatedView:
    """One rendered image with its ground truth."""

    frame: RgbdFrame
    instance_ids: NDArray[np.int32]  # (H, W): object ids > 0, floor -1, walls <= -2, nothing 0
    clean_depth: NDArray[np.float32]  # (H, W) metres, 0 where nothing is


class SimulatedCamera:
    """A pinhole RGB-D camera; the same room, pose and frame index give the same images."""

    def __init__(self, camera: Camera, noise: DepthNoise | None = None) -> None:
        self.camera = camera
        self.noise = noise or DepthNoise()

    def view(
        self,
        scene: RoomScene,
        world_from_camera: FloatArray,
        frame_index: int = 0,
        stamp: int = 0,
    ) -> SimulatedView:
        """Render the scene from a pose (4, 4); ``stamp`` in nanoseconds goes into the frame."""
        room = scene.room
        rng = np.random.default_rng([room.seed, SPLITS.index(room.split), 7, frame_index])
        hits, rays = scene.view(self.camera, world_from_camera)
        cos_incidence = -np.einsum('hwi,hwi->hw', hits.normals, rays)
        cos_incidence /= np.linalg.norm(rays, axis=-1)
        depth = self.noise.apply(hits.distance, cos_incidence, rng)
        color = self._shade(scene, hits, rays, cos_incidence, world_from_camera, rng)
        clean = np.where(np.isfinite(hits.distance), hits.distance, 0).astype(np.float32)
        frame = RgbdFrame(stamp, color, depth, self.camera, world_from_camera)
        return SimulatedView(frame, scene.triangle_ids[hits.triangle], clean)

    def _shade(
        self,
        scene: RoomScene,
        hits: Hits,
        rays: FloatArray,
        cos_incidence: FloatArray,
        world_from_camera: FloatArray,
        rng: np.random.Generator,
    ) -> NDArray[np.uint8]:
        """Lambert shading by two lamps at the ceiling, a mild texture and pixel noise."""
        distance = np.where(np.isfinite(hits.distance), hits.distance, 0)[..., None]
        eye = world_from_camera[:3, 3].astype(np.float32)
        points = eye + rays * distance
        light = _AMBIENT + _FILL * cos_incidence
        for lamp, strength in lamps(scene.room):
            towards = lamp.astype(np.float32) - points
            towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
            light += strength * np.clip(np.einsum('hwi,hwi->hw', towards, hits.normals), 0, None)
        light *= 1 + _texture(points, scene.triangle_ids[hits.triangle])
        color = scene.triangle_colors[hits.triangle] * light[..., None] * np.float32(255)
        color += rng.standard_normal(color.shape, dtype=np.float32) * 2
        return np.clip(color, 0, 255).astype(np.uint8)


def lamps(room: Room) -> list[tuple[FloatArray, float]]:
    """Place two lamps at the ceiling of a room: position (3,) in metres, and strength."""
    rng = np.random.default_rng([room.seed, SPLITS.index(room.split), 11])
    low, high = room.outline.lower, room.outline.upper
    placed = []
    for share in (0.28, 0.72):
        spot = low + (high - low) * np.clip(share + rng.uniform(-0.15, 0.15, 2), 0.1, 0.9)
        placed.append((np.append(spot, room.height - 0.1), float(rng.uniform(0.18, 0.30))))
    return placed


def _texture(points: FloatArray, ids: NDArray[np.int32]) -> FloatArray:
    """Brightness (H, W) of a smooth pattern fixed to the world, other for each instance."""
    phase = ids.astype(np.float32) * np.float32(1.7)
    x, y, z = np.moveaxis(points, -1, 0)
    coarse = np.sin(9 * x + 5 * z + phase) * np.sin(8 * y - 6 * z + 2 * phase)
    fine = np.sin(41 * x + 23 * y + phase) * np.sin(37 * z - 29 * y)
    return np.float32(0.03) * coarse + np.float32(0.015) * fine
