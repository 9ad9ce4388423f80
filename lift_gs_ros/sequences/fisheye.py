"""Fisheye images, and how to look at them through a pinhole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray


@dataclass(frozen=True)
class Fisheye:
    """A lens whose pixels are a polynomial of the ray's angle.

    The model of Kannala and Brandt (2006) as OpenCV and COLMAP (``OPENCV_FISHEYE``) have it, with
    any number of terms, and with the tangential terms that Project Aria adds to it (``Fisheye624``
    in its calibration/camera_projections/FisheyeRadTanThinPrism.h; thin prism left out).
    """

    intrinsics: FloatArray  # (3, 3) pixels, the centre of the first pixel at 0
    width: int
    height: int
    radial: tuple[float, ...]  # of theta^3, theta^5, ...
    tangential: tuple[float, float] = (0.0, 0.0)

    def project(self, rays: FloatArray) -> FloatArray:
        """Pixels (..., 2) of rays (..., 3) with z > 0 in the optical frame."""
        flat = rays[..., :2] / rays[..., 2:]
        radius = np.linalg.norm(flat, axis=-1, keepdims=True)
        theta = np.arctan(radius)
        bent = theta + sum(k * theta ** (2 * i + 3) for i, k in enumerate(self.radial))
        with np.errstate(invalid='ignore'):
            bent = flat * np.where(radius > 1e-9, bent / radius, 1.0)
        p = np.array(self.tangential)
        square = (bent**2).sum(axis=-1, keepdims=True)
        shifted = bent + 2 * (bent @ p)[..., None] * bent + square * p
        return shifted @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]


class Rectification:
    """What a pinhole in the place of a fisheye lens sees.

    Args:
        fisheye: the lens.
        camera: the pinhole; it may have a smaller view than the lens, and any size.
        fisheye_from_camera: rotation (3, 3) from the pinhole's optical frame to the lens's.

    """

    def __init__(
        self, fisheye: Fisheye, camera: Camera, fisheye_from_camera: FloatArray | None = None
    ) -> None:
        self.camera = camera
        rays = camera.unproject(np.ones((camera.height, camera.width)))
        self.ray_length = np.linalg.norm(rays, axis=-1)  # (H, W): distance along the ray over depth
        if fisheye_from_camera is not None:
            rays = rays @ fisheye_from_camera.T
        size = np.array([fisheye.width, fisheye.height])
        # In shares of the image: colour and depth may have sizes of their own.
        self._places = (fisheye.project(rays) + 0.5) / size
        self._unseen = ~((self._places >= 0) & (self._places < 1)).all(axis=-1)
        self._places[self._unseen] = 0
        self._pixels: dict[tuple[int, int], NDArray[np.intp]] = {}  # by the size of the image

    def __call__(self, image: NDArray) -> NDArray:
        """Take the nearest pixel of an image (h, w, ...) of the lens for each of the pinhole's.

        The result (H, W, ...) is 0 where the lens's image ends.
        """
        height, width = image.shape[:2]
        if (height, width) not in self._pixels:
            columns, rows = np.moveaxis((self._places * [width, height]).astype(np.intp), -1, 0)
            self._pixels[height, width] = rows * width + columns
        taken = image.reshape(height * width, *image.shape[2:])[self._pixels[height, width]]
        taken[self._unseen] = 0
        return taken
