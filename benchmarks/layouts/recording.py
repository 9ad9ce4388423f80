"""What is written: poses, and what a camera sees from each."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.mapping.frame import RgbdFrame

OPENGL = np.diag([1.0, -1, -1, 1])
Y_UP_FROM_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Recording:
    """A scene to be recorded.

    Where ``written`` is given, the files say these poses (4, 4), whatever was rendered: a broken
    recording.
    """

    view: Callable[[FloatArray, Camera], RgbdFrame]  # renders from world_from_camera (4, 4)
    poses: list[FloatArray]
    camera: Camera  # of depth, and of colour where a layout has one size
    color_camera: Camera  # of colour, where a layout has a larger one
    written: list[FloatArray] | None = None

    def frames(self, camera: Camera | None = None) -> Iterator[tuple[int, RgbdFrame, FloatArray]]:
        """Number, image and pose as it is to be written, for each pose."""
        for number, pose in enumerate(self.poses):
            yield number, self.view(pose, camera or self.camera), self.written_pose(number)

    def written_pose(self, number: int) -> FloatArray:
        """Pose (4, 4) as the files are to say it."""
        return (self.written or self.poses)[number]

    def color(self, number: int, camera: Camera | None = None) -> NDArray[np.uint8]:
        """Colour (H, W, 3) as another camera sees it from a pose."""
        return self.view(self.poses[number], camera or self.color_camera).color


def image_file(pixels: NDArray, kind: str) -> bytes:
    """Encode pixels as PNG or JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=95)
    return file.getvalue()


def save(path: Path, data: bytes | str | dict[str, Any]) -> None:
    """Write a file, text or JSON, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, dict):
        data = json.dumps(data)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def save_color(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a JPEG or PNG, by the name."""
    save(path, image_file(pixels, 'PNG' if path.suffix.lower() == '.png' else 'JPEG'))


def save_depth(path: Path, depth: FloatArray, units: float = 1000.0) -> None:
    """Write depth in metres as 16-bit PNG."""
    save(path, image_file(np.round(depth * units).astype(np.uint16), 'PNG'))


def focal(camera: Camera) -> list[float]:
    """Return fx, fy, cx, cy."""
    return [float(camera.intrinsics[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))]


def text(values: FloatArray, form: str = '.8f') -> str:
    """Numbers, separated by blanks."""
    return ' '.join(f'{value:{form}}' for value in np.ravel(values))


def place_and_turn(pose: FloatArray) -> list[float]:
    """Position and quaternion: x y z qx qy qz qw; NaN for a pose that is none."""
    if not np.isfinite(pose).all():
        return [np.nan] * 7
    return [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
