"""One posed image, as teachers see it and as a sequence left it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.mapping.frame import RgbdFrame


@dataclass(frozen=True)
class PosedImage:
    """A colour image with its camera, its pose, and which chunks of the map it shows."""

    scene: str
    name: str  # within the scene
    stamp: int  # nanoseconds
    image: NDArray[np.uint8]  # (H, W, 3)
    depth: NDArray[np.float32]  # (H, W) metres, 0 where unknown
    camera: Camera
    world_from_camera: FloatArray  # (4, 4)
    chunks: list[ChunkKey]  # that some pixel with depth lies in

    @classmethod
    def of(cls, frame: RgbdFrame, scene: str, name: str, chunks: list[ChunkKey]) -> PosedImage:
        """Take a frame of a sequence."""
        return cls(
            scene,
            name,
            frame.stamp,
            frame.color,
            frame.depth,
            frame.camera,
            frame.world_from_camera,
            chunks,
        )

    def resized(self, width: int) -> PosedImage:
        """Return a smaller image of the same view; it is never enlarged. Depth is not averaged."""
        if width >= self.camera.width:
            return self
        height = max(1, round(self.camera.height * width / self.camera.width))
        image = Image.fromarray(self.image).resize((width, height), Image.Resampling.BOX)
        return replace(
            self,
            image=np.asarray(image),
            depth=nearest(self.depth, width, height),
            camera=self.camera.resized(width, height),
        )


def nearest(image: NDArray, width: int, height: int) -> NDArray:
    """Resize an image (H, W, ...) by taking the nearest pixel: for indices and depths."""
    rows = ((np.arange(height) + 0.5) * image.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * image.shape[1] / width).astype(int)
    return image[np.ix_(rows, columns)]
