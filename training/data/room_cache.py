"""The cache of simulated rooms: one npz file per room, written once and read by every run.

A file holds the room's fused map and its posed views with the paper's decomposition of pseudo
labels (A.1): ``semantics`` (H, W), the index of each pixel's mask, and ``index2semantics``, what
the teacher says about each index - here a caption.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lift_gs_ros.geometry import Camera, FloatArray
from lift_gs_ros.model.gaussian_head import INITIAL_OPACITY, INITIAL_SCALE
from lift_gs_ros.splat.gaussians import SH_COEFFICIENTS, Gaussians
from lift_gs_ros.splat.render import compositing_weights
from training.data.cache_files import read_arrays, write_arrays

CACHE_VERSION = 1
WHAT, MODULE = 'cached room', 'training.data.rooms'
REDO = f'delete it and build it again with python -m {MODULE}'
MIN_WEIGHT = 0.03  # compositing weights below are dropped: they are many and say little


@dataclass
class CachedView:
    """One posed image with a teacher's masks and captions, over the map's points."""

    camera: Camera
    world_from_camera: FloatArray  # (4, 4)
    image: NDArray[np.uint8]  # (H, W, 3)
    semantics: NDArray[np.int16]  # (H, W) index of the mask, -1 where the teacher saw none
    captions: list[str]  # of each mask; empty where the teacher gave none
    positions: NDArray[np.float32]  # (N, 3) the room's map
    embeddings: NDArray[np.floating] | None = None  # (masks, F) CLIP's, where the teacher gave any
    _weights: csr_array | None = field(default=None, init=False, repr=False)

    @property
    def num_masks(self) -> int:
        """How many masks the teacher saw."""
        return len(self.captions if self.embeddings is None else self.embeddings)

    @property
    def weights(self) -> csr_array:
        """Compositing weights (H * W, N) of the map's points at their initial geometry."""
        # No cached_property: before Python 3.12 all views share its lock, and threads that draw
        # samples would composite one after the other.
        if self._weights is None:
            self._weights = fixed_weights(self.positions, self.camera, self.world_from_camera)
        return self._weights


@dataclass
class CachedRoom:
    """A room as training sees it: no instance, no label, no box in 3D."""

    name: str
    positions: NDArray[np.float32]  # (N, 3) metres
    colors: NDArray[np.float32]  # (N, 3) in [0, 1]
    views: list[CachedView]


def require_numbers(room: CachedRoom, where: str, redo: str) -> CachedRoom:
    """Return a room that was read from somewhere; ``redo`` says how to make it anew.

    Raises ValueError where a position, a pose or an embedding holds NaN or infinity. ``Camera``
    refuses such intrinsics; images, colours and masks are stored as whole numbers.
    """
    parts = {'a position of its map': room.positions}
    for number, view in enumerate(room.views):
        parts[f'the pose of view {number}'] = view.world_from_camera
        if view.embeddings is not None:
            parts[f'an embedding of view {number}'] = view.embeddings
    for name, values in parts.items():
        if (bad := ~np.isfinite(values)).any():
            raise ValueError(
                f'{where}: {name} is {values[bad][0]}, expected finite numbers: {redo}'
            )
    return room


def fixed_weights(
    positions: NDArray[np.float32],
    camera: Camera,
    world_from_camera: FloatArray,
    voxel_size: float = 0.05,
) -> csr_array:
    """Compositing weights (H * W, N) of Gaussians as the Gaussian head begins with them."""
    means = torch.from_numpy(positions)
    count = len(means)
    gaussians = Gaussians(
        means,
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.full((count, 3), INITIAL_SCALE * voxel_size),
        torch.full((count,), INITIAL_OPACITY),
        torch.zeros(count, SH_COEFFICIENTS, 3),
    )
    matrix = compositing_weights(gaussians, camera, world_from_camera)
    data = matrix.values().numpy()
    strong = data >= MIN_WEIGHT
    starts = np.concatenate([[0], np.cumsum(strong)])[matrix.crow_indices().numpy()]
    columns = matrix.col_indices().numpy()[strong].astype(np.int32)
    return csr_array((data[strong], columns, starts.astype(np.int32)), shape=tuple(matrix.shape))


def save_room(path: str | Path, room: CachedRoom) -> None:
    """Write a room; the file appears under its name only when it is whole."""
    captions = [caption for view in room.views for caption in view.captions]
    write_arrays(
        path,
        version=CACHE_VERSION,
        positions=room.positions,
        colors=np.round(room.colors * 255).astype(np.uint8),
        intrinsics=room.views[0].camera.intrinsics,
        poses=np.stack([view.world_from_camera for view in room.views]),
        images=np.stack([view.image for view in room.views]),
        semantics=np.stack([view.semantics for view in room.views]),
        index2semantics=np.array(captions, dtype=np.str_),
        masks_per_view=np.array([len(view.captions) for view in room.views]),
    )


def load_room(path: str | Path) -> CachedRoom:
    """Read a room.

    Raises ValueError where the file is damaged, holds NaN or was written by another version.
    """
    path = Path(path)
    data = read_arrays(path, WHAT, {'images', 'semantics'}, CACHE_VERSION, MODULE)
    height, width = data['images'].shape[1:3]
    camera = Camera(data['intrinsics'], width, height)
    ends = np.cumsum(data['masks_per_view'])
    captions = np.split(data['index2semantics'], ends[:-1])
    views = [
        CachedView(camera, pose, image, semantics, [str(c) for c in own], data['positions'])
        for pose, image, semantics, own in zip(
            data['poses'], data['images'], data['semantics'], captions
        )
    ]
    colors = data['colors'].astype(np.float32) / 255
    room = CachedRoom(path.stem, data['positions'], colors, views)
    return require_numbers(room, str(path), REDO)
