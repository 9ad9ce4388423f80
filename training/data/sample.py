"""From a cached room to one training sample: a crop of the map, posed views of it, a query."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, invert_transform, transform_points
from training.compositing import CompositingWeights
from training.data.augment import Augmentation, AugmentedCloud, augment
from training.data.embeddings import EmbeddingQuery, make_embedding_query
from training.data.queries import Caption, Query, QueryMix, make_query
from training.data.room_cache import CachedRoom, CachedView

MIN_PIXELS = 8  # of a mask on the grid, within the crop; less says nothing about a shape


@dataclass(frozen=True)
class SampleSettings:
    """How samples are cut from rooms."""

    queries: str = 'captions'  # or 'embeddings': CLIP's, of the masks themselves (paper, 3.3)
    views: int = 2  # posed images that supervise one crop
    whole_room: float = 0.05  # share of samples whose crop is the whole room
    around_mask: float = 0.7  # share of samples whose crop lies around something that is seen
    depth: tuple[float, float] = (1.8, 4.2)  # metres, range of the frustum that cuts the others
    max_points: int = 9_000  # of other crops: the nearest are kept
    margin: float = 0.15  # of the image's size, by which that frustum is wider
    stride: int = 2  # every so many-th pixel in both directions is supervised
    max_instances: int = 8  # masks (paper, A.1), or captions: with all their masks in view
    min_alpha: float = 0.5  # pixels that the crop covers less are not supervised
    min_points: int = 1000  # a view that shows less is left for another one
    query: QueryMix = field(default_factory=QueryMix)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.queries not in ('captions', 'embeddings'):
            raise ValueError(f"queries is {self.queries!r}, expected 'captions' or 'embeddings'")
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
    embeddings: NDArray[np.float32] | None  # of each mask, in the place of captions
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
    query: Query | EmbeddingQuery
    name: str  # for the error message when it holds NaN


def make_sample(
    room: CachedRoom, settings: SampleSettings, voxel_size: float, rng: np.random.Generator
) -> Sample:
    """Cut, augment and question one crop; the same generator state gives the same sample."""
    first, crop = _draw_crop(room, settings, rng)
    chosen = [first, *_other_views(room, first, crop, settings.views - 1, rng)]
    cloud = augment(room.positions[crop], room.colors[crop], settings.augmentation, voxel_size, rng)
    points = crop.copy()
    points[crop] = cloud.kept
    offset = rng.integers(settings.stride, size=2)
    grids = [_grid(room.views[i], points, settings, offset) for i in chosen]
    query = _draw_query([room.views[i] for i in chosen], grids, settings, rng)
    views = [
        _target(room.views[i], grid, cloud, satisfied)
        for i, grid, satisfied in zip(chosen, grids, query.satisfied)
    ]
    return Sample(cloud.positions, cloud.colors, views, query, f'{room.name}, view {first}')


def _draw_query(
    views: list[CachedView], grids: list[_Grid], settings: SampleSettings, rng: np.random.Generator
) -> Query | EmbeddingQuery:
    in_crop = [grid.counts >= MIN_PIXELS for grid in grids]
    if settings.queries == 'captions':
        captions = [view.captions for view in views]
        shown = [captions[0][i] for i in np.flatnonzero(in_crop[0])]
        return make_query(captions, shown, settings.query, settings.max_instances, rng)
    embeddings = [view.embeddings for view in views if view.embeddings is not None]
    return make_embedding_query(embeddings, in_crop, settings.max_instances, rng)


def _draw_crop(
    room: CachedRoom, settings: SampleSettings, rng: np.random.Generator
) -> tuple[int, NDArray[np.bool_]]:
    """Draw a view and the part of the map that goes with it: (N,) bool."""
    whole = np.ones(len(room.positions), bool)
    kind = rng.uniform()
    for first in rng.permutation(len(room.views)).tolist():
        view = room.views[first]
        if kind < settings.whole_room:
            return first, whole
        if kind < settings.whole_room + settings.around_mask and view.num_masks:
            return first, _around_mask(room, view, settings, rng)
        crop = _frustum(room, view, settings, rng.uniform(*settings.depth))
        if crop.sum() >= settings.min_points:
            return first, crop
    return first, whole


def _around_mask(
    room: CachedRoom, view: CachedView, settings: SampleSettings, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Take the points nearest, on the floor plan, to where some pixel of some mask looks."""
    mask = _draw_mask(view, rng)
    hits = np.diff(view.weights.indptr) > 0
    pixels = np.flatnonzero((view.semantics.ravel() == mask) & hits)
    if len(pixels) == 0:
        return np.ones(len(room.positions), bool)
    row = view.weights[[rng.choice(pixels)]]
    center = room.positions[row.indices[np.argmax(row.data)]]
    return nearest_on_floor(room.positions, center, settings.max_points)


def _draw_mask(view: CachedView, rng: np.random.Generator) -> int:
    if view.embeddings is not None:
        return int(rng.integers(view.num_masks))
    # A caption first: four chairs are no more often in the middle than one ball.
    things = [i for i, text in enumerate(view.captions) if Caption.parse(text).color]
    captions = sorted({view.captions[i] for i in things})
    caption = rng.choice(captions) if captions else rng.choice(view.captions)
    return int(rng.choice([i for i, text in enumerate(view.captions) if text == caption]))


def nearest_on_floor(
    positions: NDArray[np.float32], center: NDArray[np.float32], count: int
) -> NDArray[np.bool_]:
    """Say which ``count`` of the points (N, 3) are nearest to a center (3,) on the floor plan."""
    if len(positions) <= count:
        return np.ones(len(positions), bool)
    distance = np.square(positions[:, :2] - center[:2]).sum(axis=1)
    return distance < np.partition(distance, count)[count]


def _frustum(
    room: CachedRoom, view: CachedView, settings: SampleSettings, max_depth: float
) -> NDArray[np.bool_]:
    inside, depth = _in_image(view, room.positions, settings.margin)
    inside &= depth < max_depth
    if inside.sum() > settings.max_points:
        inside &= depth < np.partition(depth[inside], settings.max_points)[settings.max_points]
    return inside


def _in_image(
    view: CachedView, positions: NDArray[np.float32], margin: float
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which points (N, 3) fall into a view's image, widened by a margin, and their depths."""
    points = transform_points(invert_transform(view.world_from_camera), positions)
    pixels, depth = view.camera.project(points)
    size = np.array([view.camera.width, view.camera.height])
    with np.errstate(invalid='ignore'):
        inside = (pixels > -margin * size) & (pixels < (1 + margin) * size)
    return np.asarray(inside.all(axis=1)), depth


def _other_views(
    room: CachedRoom, first: int, crop: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> list[int]:
    """Draw other views, each with a chance in proportion to the crop's points in its image."""
    some = room.positions[crop][::20]
    shown = np.array([_in_image(view, some, 0.0)[0].mean() for view in room.views])
    shown[first] = 0
    shown[shown < 0.2] = 0
    count = min(count, int((shown > 0).sum()))
    if count == 0:
        return []
    return rng.choice(len(shown), count, replace=False, p=shown / shown.sum()).tolist()


@dataclass(frozen=True)
class _Grid:
    """The pixels of a view that supervise a crop."""

    camera: Camera
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: CompositingWeights
    valid: NDArray[np.bool_]  # (R,)
    semantics: NDArray[np.int64]  # (R,)
    counts: NDArray[np.int64]  # valid pixels of each mask


def _grid(
    view: CachedView,
    points: NDArray[np.bool_],
    settings: SampleSettings,
    offset: NDArray[np.int64],
) -> _Grid:
    stride = settings.stride
    rows = np.arange(offset[1], view.camera.height, stride)
    columns = np.arange(offset[0], view.camera.width, stride)
    pixels = (rows[:, None] * view.camera.width + columns).ravel()
    weights = CompositingWeights(view.weights).select(pixels, points)
    valid = weights.alpha.numpy() >= settings.min_alpha
    semantics = view.semantics[np.ix_(rows, columns)].ravel().astype(np.int64)
    counts = np.bincount(semantics[valid & (semantics >= 0)], minlength=view.num_masks)
    intrinsics = view.camera.intrinsics.copy()
    intrinsics[:2, 2] -= offset
    intrinsics[:2] /= stride
    camera = Camera(intrinsics, len(columns), len(rows))
    return _Grid(camera, rows, columns, weights, valid, semantics, counts)


def _target(
    view: CachedView, grid: _Grid, cloud: AugmentedCloud, satisfied: NDArray[np.bool_]
) -> ViewTarget:
    asked = np.flatnonzero(satisfied.any(axis=1) & (grid.counts >= MIN_PIXELS))
    return ViewTarget(
        grid.weights,
        np.float32(1 / 255) * view.image[np.ix_(grid.rows, grid.columns)].astype(np.float32),
        grid.semantics,
        grid.valid,
        view.captions,
        view.embeddings,
        asked,
        satisfied[asked],
        grid.camera,
        cloud.transform @ view.world_from_camera,
    )
