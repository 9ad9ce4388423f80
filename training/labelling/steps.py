"""The two steps that workers do: prepare a scene, label a view."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator

import numpy as np

from lift_gs_ros.geometry import transform_points
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.mapping.frame import RgbdFrame
from lift_gs_ros.mapping.keyframes import KeyframeSelector
from lift_gs_ros.mapping.voxel_map import VoxelMap
from lift_gs_ros.sequences import Sequence
from training.data.posed_image import PosedImage
from training.data.storage import Storage
from training.data.view_files import (
    LabelledView,
    decode_view,
    encode_cloud,
    encode_labels,
    encode_view,
)
from training.labelling.plan import LABELLED, MAP, POSED, Plan, read_work, work_file, write_work
from training.labelling.scenes import open_scene
from training.labelling.settings import JobSettings
from training.teachers.labels import Teacher
from training.teachers.load import load_teacher

Item = dict[str, str]  # what a worker is given, and, with 'error', what it gives back
MAX_VOXELS = 20_000_000  # of one scene: 900 MB
STRIDE = 4  # of the pixels that say which chunks a view shows
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no frame is to blame
logger = logging.getLogger(__name__)


class Preparer:
    """Reads a scene once: fuses its map, and sets the views to be labelled aside."""

    def __init__(self, url: str, settings: JobSettings, device: str) -> None:
        self._storage, self._settings = Storage(url), settings

    def __call__(self, item: Item) -> Item:
        """Prepare the scene; what is wrong with it is in 'error'."""
        wanted = set(item['views'].split())
        try:
            self._prepare(item['scene'], item['source'], wanted)
        except Exception as error:
            if not wanted:  # without a plan nobody comes back for what was set aside
                self._storage.remove(f'work/{item["scene"]}')
            return {**item, 'error': explain(error)}
        return {**item, 'error': ''}

    def _prepare(self, scene: str, source: str, wanted: set[str]) -> None:
        sequence, voxel_map = open_scene(source), VoxelMap(max_voxels=MAX_VOXELS)
        keyframes, step = KeyframeSelector(), step_of(sequence, self._settings)
        names: list[str] = []
        number = -1
        for number, frame in enumerate(whole_frames(sequence, scene)):
            name = f'{number:06d}'
            try:
                if keyframes.is_keyframe(frame.stamp, frame.world_from_camera):
                    voxel_map.integrate(frame)
                if number % step == 0:
                    view = PosedImage.of(frame, scene, name, chunks_of(frame, voxel_map))
                    if not wanted or name in wanted:
                        write_work(self._storage, scene, name + POSED, {name: encode_view(view)})
                    names.append(name)
            except ValueError as error:
                logger.warning('%s: frame %s is skipped: %s', scene, name, error)
        if not names:
            raise ValueError(f'{source} has no frame that can be read, with a pose and depth')
        if voxel_map.evicted_chunks:
            logger.warning('%s is too large for one map: cut the recording into parts', scene)
        chunks = {key: encode_cloud(voxel_map.chunk(key)) for key in voxel_map.chunk_keys()}
        clouds = {'chunk_{}_{}_{}'.format(*key): files for key, files in chunks.items()}
        write_work(self._storage, scene, MAP, clouds)
        if not wanted:  # else there is a plan, and shards that follow it
            size, skipped = self._settings.shard_views, getattr(sequence, 'skipped', 0)
            shards = [names[begin : begin + size] for begin in range(0, len(names), size)]
            Plan(scene, source, number + 1, skipped, shards).write(self._storage)


def step_of(sequence: Sequence, settings: JobSettings) -> int:
    """Of how many frames one is labelled: photos, each of something else, are labelled all."""
    return 1 if getattr(sequence, 'stills', False) else settings.every


def whole_frames(sequence: Sequence, scene: str) -> Iterator[RgbdFrame]:
    """Yield the frames up to where a recording breaks off (a file that was cut), which is logged.

    Raises what ends it where there is no frame before, and where the frames are not to blame.
    """
    frames, count = iter(sequence), 0
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except (ValueError, OSError) as error:  # as readers say it
            reason = explain(error)
            if not count:
                raise
            logger.warning(
                '%s breaks off after %d frames, which are kept: %s', scene, count, reason
            )
            return
        count += 1
        yield frame


def chunks_of(frame: RgbdFrame, voxel_map: VoxelMap) -> list[ChunkKey]:
    """List the chunks of a map that a frame shows.

    Raises ValueError where it has no depth that is fused.
    """
    depth = frame.depth
    points = frame.camera.unproject(depth)[::STRIDE, ::STRIDE]
    valid = (depth > voxel_map.min_depth) & (depth <= voxel_map.max_depth)
    points = transform_points(frame.world_from_camera, points[valid[::STRIDE, ::STRIDE]])
    if not len(points):
        raise ValueError(
            f'no depth between {voxel_map.min_depth} and {voxel_map.max_depth} m in it'
        )
    keys = np.unique(np.floor(points / voxel_map.chunk_size + 0.5).astype(int), axis=0)
    return [(int(i), int(j), int(k)) for i, j, k in keys]


class Labeller:
    """Labels one view after the other; the teachers are loaded when the first one comes."""

    def __init__(self, url: str, settings: JobSettings, device: str) -> None:
        self._storage, self._settings, self._device = Storage(url), settings, device
        self._teacher: Teacher | None = None

    def __call__(self, item: Item) -> Item:
        """Label a view; what is wrong with it is in 'error'."""
        if self._teacher is None:
            self._teacher = load_teacher(self._settings.teachers, self._device)
        try:
            self._label(self._teacher, item['scene'], item['view'])
        except Exception as error:
            return {**item, 'error': explain(error)}
        return {**item, 'error': ''}

    def _label(self, teacher: Teacher, scene: str, name: str) -> None:
        settings = self._settings
        view = decode_view(read_work(self._storage, scene, name + POSED)[name])
        labels = teacher.label(view)
        if labels.semantics.shape != view.image.shape[:2]:
            raise ValueError(
                f'labels have shape {labels.semantics.shape}, expected {view.image.shape[:2]}'
            )
        kept = LabelledView(view, labels).resized(settings.width)
        files = {**encode_view(kept.view, settings.with_depth), **encode_labels(kept.labels)}
        write_work(self._storage, scene, name + LABELLED, {name: files})
        self._storage.remove(work_file(scene, name + POSED))


def explain(error: Exception) -> str:
    """Say in a line what went wrong with one item; raises what is wrong with all of them."""
    if isinstance(error, OSError) and error.errno in FATAL:
        raise error
    if isinstance(error, MemoryError):
        raise error
    return re.sub(r'\s+', ' ', f'{type(error).__name__}: {error}')[:500]
