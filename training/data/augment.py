"""Augmentation of a map crop; images are never touched, for the compositing weights stay as is.

So the photometric loss asks for the colours as they were before the change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Augmentation:
    """How far a training cloud may be from the map that it was cut from."""

    any_yaw: float = 0.3  # probability of a turn by any angle instead of quarter turns
    mirror: float = 0.5  # probability
    brightness: float = 0.10  # largest relative change of all channels together
    tint: float = 0.03  # largest relative change of single channels: colours keep their names
    noise: float = 0.02  # standard deviation of the colour of single points
    jitter: float = 0.005  # standard deviation of positions, metres
    dropout: float = 0.15  # largest share of points left out

    def __post_init__(self) -> None:
        for name in ('any_yaw', 'mirror', 'dropout'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f'{name} is {value}, expected a number in [0, 1]')


@dataclass(frozen=True)
class AugmentedCloud:
    """Points as the model will see them, and what was done to them."""

    positions: NDArray[np.float32]  # (N, 3) metres
    colors: NDArray[np.float32]  # (N, 3)
    kept: NDArray[np.bool_]  # of the points that came in
    mirrored: bool  # left is right now
    transform: NDArray[np.float64]  # (4, 4), maps the cloud's frame to the augmented one


def augment(
    positions: NDArray[np.float32],
    colors: NDArray[np.float32],
    settings: Augmentation,
    voxel_size: float,
    rng: np.random.Generator,
) -> AugmentedCloud:
    """Turn, mirror, shift, recolour and thin out a cloud (N, 3).

    Quarter turns and whole-voxel shifts keep the map's one point per voxel, as the robot's map has
    it; other angles are better had by fusing the map in a turned frame, which ``rooms`` does.
    """
    transform = np.eye(4)
    angle = float(rng.integers(4)) * np.pi / 2
    if rng.uniform() < settings.any_yaw:
        angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    transform[:2, :2] = [[cosine, -sine], [sine, cosine]]
    mirrored = bool(rng.uniform() < settings.mirror)
    if mirrored:
        transform[:, 0] *= -1
    transform[:2, 3] = rng.integers(-40, 40, 2) * voxel_size
    kept = rng.uniform(size=len(positions)) >= rng.uniform(0, settings.dropout)
    moved = positions[kept] @ transform[:3, :3].T + transform[:3, 3]
    moved += rng.normal(0, settings.jitter, moved.shape)
    gain = 1 + rng.uniform(-1, 1) * settings.brightness + rng.uniform(-1, 1, 3) * settings.tint
    recolored = colors[kept] * gain + rng.normal(0, settings.noise, moved.shape)
    return AugmentedCloud(
        moved.astype(np.float32),
        np.clip(recolored, 0, 1).astype(np.float32),
        kept,
        mirrored,
        transform,
    )
