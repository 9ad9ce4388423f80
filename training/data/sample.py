"""From a cached room to one training sample: a crop of the map, posed views of it, a query."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, invert_transform, transform_points
from training.compositing import CompositingWeights
from training.data.augment import Augmentation, AugmentedCloud, augment
from training.data.queries import Query, QueryMix, make_query
from training.data.room_cache import CachedRoom, CachedView

MIN_PIXELS = 8  # of a mask on the grid, within the crop; less says nothing about a shape


@dataclass(frozen=True)
class SampleSettings:
    """How samples are cut from rooms."""

    views: int = 2  # posed images that supervise one crop
    whole_room: float = 0.05  # share of samples whose crop is the whole room
    depth: tuple[float, float] = (1.8, 4.2)  # metres, range of the frustum that cuts the crop
    max_points: int = 9_000  # of a frustum: the nearest are kept
    margin: float = 0.15  # of the image's size, by which that frustum is wider
    stride: int = 2  # every so many-th pixel in both directions is supervised
    max_instances: int = 8  # of one view that the query asks for (paper, A.1)
    min_alpha: float = 0.5  # pixels that the crop covers less are not supervised
    min_points: int = 1000  # a view that shows less is left for another one
    query: QueryMix = field(default_factory=QueryMix)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ('views', 'stride', 'max_instances'):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f'{name} is {value}, expected at least 1')


@dataclass(frozen=True)
class ViewTarget:
    """What one posed image says about a crop, at R pixels on a regular grid."""

    weights: CompositingWeights  # (R, N) of the crop's points
    image: NDArray[np.float32]  # (h, w, 3) with h * w = R
    semantics: NDArray[np.int64]  # (R,) index of the mask, -1 where the teacher saw none
    valid: NDArray[np.bool_]  # (R,) pixels that the crop covers
    captions: list[str]  # of each mask, for the feature loss
    instances: NDArray[np.int64]  # (K,) masks that the query asks for
    satisfied: NDArray[np.bool_]  # (K, phrases) which phrases of the query each of them satisfies
    camera: Camera  # of the grid's pixels
    world_from_camera: FloatArray  # (4, 4) in the augmented frame; mirrored where the cloud is


@dataclass(frozen=True)
class Sample:
    """One training sample."""

    positions: NDArray[np.float32]  # (N, 3) metres, augmented
    colors: NDArray[np.float32]  # (N, 3) in [0, 1]
    views: list[ViewTarget]
    query: Query
    name: str  # for the error message when it holds NaN


def make_sample(
    room: CachedRoom, settings: SampleSettings, voxel_size: float, rng: np.random.Generator
) -> Sample:
    """Cut, augment and question one crop; the same generator state gives the same sample."""
    crop = np.ones(len(room.positions), bool)
    is_whole = rng.uniform() < settings.whole_room
    for first in rng.permutation(len(room.views)).tolist():
        if is_whole:
            break
        crop = _frustum(room, room.views[first], settings, rng.uniform(*settings.depth))
        if crop.sum() >= settings.min_points:
            break
    chosen = [first, *_other_views(room, first, crop, settings.views - 1, rng)]
    cloud = augment(room.positions[crop], room.colors[crop], settings.augmentation, voxel_size, rng)
    points = crop.copy()
    points[crop] = cloud.kept
    captions = [room.views[i].captions for i in chosen]
    query = make_query(captions, settings.query, settings.max_instances, rng)
    offset = rng.integers(settings.stride, size=2)
    views = [
        _target(room, room.views[i], points, cloud, satisfied, settings, offset)
        for i, satisfied in zip(chosen, query.satisfied)
    ]
    return Sample(cloud.positions, cloud.colors, views, query, f'{room.name}, view {first}')


def _frustum(
    room: CachedRoom, view: CachedView, settings: SampleSettings, max_depth: float
) -> NDArray[np.bool_]:
    inside, depth = _in_image(room, view, room.positions, settings.margin)
    inside &= depth < max_depth
    if inside.sum() > settings.max_points:
        inside &= depth < np.partition(depth[inside], settings.max_points)[settings.max_points]
    return inside


def _in_image(
    room: CachedRoom, view: CachedView, positions: NDArray[np.float32], margin: float
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which points (N, 3) fall into a view's image, widened by a margin, and their depths."""
    points = transform_points(invert_transform(view.world_from_camera), positions)
    pixels, depth = room.camera.project(points)
    size = np.array([room.camera.width, room.camera.height])
    with np.errstate(invalid='ignore'):
        inside = (pixels > -margin * size) & (pixels < (1 + margin) * size)
    return inside.all(axis=1), depth


def _other_views(
    room: CachedRoom, first: int, crop: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> list[int]:
    """Draw other views, each with a chance in proportion to the crop's points in its image."""
    some = room.positions[crop][::20]
    shown = np.array([_in_image(room, view, some, 0.0)[0].mean() for view in room.views])
    shown[first] = 0
    shown[shown < 0.2] = 0
    count = min(count, int((shown > 0).sum()))
    if count == 0:
        return []
    return rng.choice(len(shown), count, replace=False, p=shown / shown.sum()).tolist()


def _target(
    room: CachedRoom,
    view: CachedView,
    points: NDArray[np.bool_],
    cloud: AugmentedCloud,
    satisfied: NDArray[np.bool_],
    settings: SampleSettings,
    offset: NDArray[np.int64],
) -> ViewTarget:
    stride = settings.stride
    rows = np.arange(offset[1], room.camera.height, stride)
    columns = np.arange(offset[0], room.camera.width, stride)
    pixels = (rows[:, None] * room.camera.width + columns).ravel()
    weights = CompositingWeights(view.weights).select(pixels, points)
    valid = weights.alpha.numpy() >= settings.min_alpha
    semantics = view.semantics[np.ix_(rows, columns)].ravel().astype(np.int64)
    counts = np.bincount(semantics[valid & (semantics >= 0)], minlength=len(view.captions))
    asked = np.flatnonzero(satisfied.any(axis=1) & (counts >= MIN_PIXELS))
    intrinsics = room.camera.intrinsics.copy()
    intrinsics[:2, 2] -= offset
    intrinsics[:2] /= stride
    return ViewTarget(
        weights,
        view.image[np.ix_(rows, columns)].astype(np.float32) / 255,
        semantics,
        valid,
        view.captions,
        asked,
        satisfied[asked],
        Camera(intrinsics, len(columns), len(rows)),
        cloud.transform @ view.world_from_camera,
    )
