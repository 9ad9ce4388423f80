"""Chunks on their way to the model: the newest state of each, of one map at a time, bounded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import Camera, FloatArray, PointCloud
from lift_gs_ros.grounding.instances import Grounding, MapSummary
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.nodes.conversions import ChunkUpdate
from lift_gs_ros.nodes.reporting import Report

if TYPE_CHECKING:  # torch, which a node without a map does not need yet
    from lift_gs_ros.grounding.encoding_file import EncodingFile

# Voxels that a chunk counts for beside its own, for what is kept of any: else chunks without
# voxels, or with one each, would fill the memory.
CHUNK_COST = 100


class Grounds(Protocol):
    """What this module needs of ``lift_gs_ros.grounding.grounder.Grounder``."""

    weights: str
    settings: Any
    camera: FloatArray | None  # (3,) where it is in the map frame, if that is known
    warn: Callable[[str], object]  # called where memory does not suffice

    @property
    def device(self) -> str:
        """Where the model is."""

    def update(self, key: ChunkKey, cloud: PointCloud) -> None:
        """Replace a chunk."""

    def encode(
        self, budget: int | None = None, between: Callable[[], object] = lambda: None
    ) -> bool:
        """Encode changed chunks; True while some remain. In ``between`` it answers queries."""

    def set_map(self, summary: MapSummary, stamp: int) -> None:
        """Note which map the chunks come from."""

    def clear(self) -> None:
        """Forget the map."""

    def to(self, device: str) -> None:
        """Move the model to 'cpu', 'cuda', 'cuda:N' or 'auto'."""

    def render(self, camera: Camera, world_from_camera: FloatArray) -> NDArray[np.uint8]:
        """Draw the encoded map (H, W, 3)."""

    def snapshot(self) -> EncodingFile:
        """Return the encodings, to be saved."""

    def restore(self, saved: EncodingFile) -> None:
        """Take encodings from here where the same points are to be encoded."""

    def ground_many(self, queries: Sequence[str]) -> list[Grounding]:
        """Answer queries."""

    def ground_again(self, answers: Sequence[Grounding]) -> list[Grounding]:
        """Answer those again whose part of the map has changed; the others stay what they are."""


def cost_with(
    update: ChunkUpdate, waiting: Mapping[ChunkKey, ChunkUpdate], known: Mapping[ChunkKey, int]
) -> int:
    """Size that a map will have with a chunk, those that wait, and those whose voxels are known."""
    sizes = {
        **known,
        **{key: len(one.cloud) for key, one in waiting.items()},
        update.key: len(update.cloud),
    }
    # One that is there, and empty when its turn comes, has gone.
    return sum(n + CHUNK_COST for key, n in sizes.items() if n or key not in known)


def report_refused(report: Report, update: ChunkUpdate, max_voxels: int) -> None:
    """Count a chunk that the map is too large for."""
    report.problem(
        'refused_chunks',
        f'with the {len(update.cloud)} voxels of chunk {update.key} the map would be '
        f'larger than max_voxels = {max_voxels}: raise that, or map less',
    )


class MapIntake:
    """``put`` may be called from any thread, the rest only by the worker that owns the grounder.

    Anybody may publish chunks: with those that wait, the map has at most ``max_voxels``. What is
    beyond is refused, and not what was there before: a map that is good stays.

    A chunk is taken in again at most ``rate()`` times a second: while the camera moves it changes
    with every keyframe, and encoding it each time would leave queries, and the other nodes, little.
    """

    def __init__(
        self, frame_id: str, report: Report, rate: Callable[[], float], max_voxels: int
    ) -> None:
        self._report, self._rate, self._max_voxels = report, rate, max_voxels
        self._lock = threading.Lock()
        self._chunks: dict[ChunkKey, ChunkUpdate] = {}  # the newest state of each changed one
        self._taken: dict[ChunkKey, float] = {}  # when, on the clock time.monotonic
        self._sizes: dict[ChunkKey, int] = {}
        self._fingerprints: dict[ChunkKey, int] = {}
        self._map_id: int | None = None
        self._past_maps: deque[int] = deque(maxlen=100)
        self.stamp, self.frame_id = 0, frame_id
        self.summary = MapSummary()

    @property
    def waiting(self) -> bool:
        """Whether chunks have not been taken in yet."""
        return bool(self._chunks)

    @property
    def due(self) -> bool:
        """Whether some of them may be taken in now."""
        with self._lock:
            return bool(self._due())

    def _due(self) -> list[ChunkKey]:
        before = time.monotonic() - 1 / self._rate()
        return [
            key
            for key, update in self._chunks.items()
            if update.map_id != self._map_id or self._taken.get(key, -np.inf) <= before
        ]

    def put(self, update: ChunkUpdate) -> bool:
        """Note the newest state of a chunk; False where the map would become too large."""
        with self._lock:
            known = self._sizes if update.map_id == self._map_id else {}  # another map goes
            fits = cost_with(update, self._chunks, known) <= self._max_voxels
            if fits:
                self._chunks.pop(update.key, None)
                self._chunks[update.key] = update
        if not fits:
            report_refused(self._report, update, self._max_voxels)
        return fits

    def take_in(self, grounder: Grounds) -> tuple[bool, bool]:
        """Hand what is due to the grounder; returns whether anything changed, another map began.

        Bad chunks are reported; the others are as good as before.
        """
        with self._lock:
            updates = [self._chunks.pop(key) for key in self._due()]
        changed = another = False
        for update in updates:
            if update.map_id in self._past_maps:
                if self._map_id is None:  # latched chunks of before; the map's own come with them
                    continue
                self._report.problem(
                    'chunks_of_past_maps',
                    f'map {self._map_id:x} has taken the place of map {update.map_id:x}: '
                    'do two nodes publish map_chunks?',
                )
                continue
            if update.map_id != self._map_id:
                if self._map_id is not None:
                    self._past_maps.append(self._map_id)
                    self._drop(self._map_id)
                self.forget(grounder)
                self._map_id, another = update.map_id, True
            try:
                changed |= self._apply(update, grounder)
                self._summarise(update, grounder)
            except ValueError as error:
                self._report.problem('bad_chunks', error)
        return changed, another

    def _drop(self, map_id: int) -> None:
        """Leave out what was held back of a map that is past: it came in time."""
        with self._lock:
            self._chunks = {k: u for k, u in self._chunks.items() if u.map_id != map_id}

    def _apply(self, update: ChunkUpdate, grounder: Grounds) -> bool:
        # A new reader of map_chunks makes the mapping node send everything again.
        fingerprint = hash((update.cloud.positions.tobytes(), update.cloud.colors.tobytes()))
        if self._fingerprints.get(update.key) == fingerprint:
            return False
        if not self._sizes:
            grounder.settings = replace(
                grounder.settings, frame_id=update.frame_id, chunk_size=update.chunk_size
            )
        grounder.update(update.key, update.cloud)
        with self._lock:
            for known in (self._sizes, self._fingerprints, self._taken):
                known.pop(update.key, None)
            if len(update.cloud):
                self._sizes[update.key] = len(update.cloud)
                self._fingerprints[update.key] = fingerprint
                self._taken[update.key] = time.monotonic()
        return True

    def _summarise(self, update: ChunkUpdate, grounder: Grounds) -> None:
        if update.map.version >= self.summary.version:  # a chunk that was held back may be older
            self.summary, self.stamp, self.frame_id = update.map, update.stamp, update.frame_id
        voxels, chunks = sum(self._sizes.values()), len(self._sizes)
        self.summary = replace(self.summary, voxels=voxels, chunks=chunks)
        grounder.set_map(self.summary, self.stamp)

    def drop_waiting(self) -> None:
        """Leave out all that has not been taken in yet."""
        with self._lock:
            self._chunks.clear()

    def forget(self, grounder: Grounds) -> None:
        """Start again without a map; what waits is kept, it may be of the next one."""
        grounder.clear()
        with self._lock:
            self._sizes, self._fingerprints, self._taken = {}, {}, {}
            self._map_id, self.summary = None, MapSummary()
