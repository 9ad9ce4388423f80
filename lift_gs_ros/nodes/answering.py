"""Which query is answered when: what grounding_node's worker does between two messages."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.grounding.instances import Grounding, MapSummary
from lift_gs_ros.mapping.chunks import ChunkKey
from lift_gs_ros.nodes.conversions import ChunkUpdate
from lift_gs_ros.nodes.reporting import ERROR, Report
from lift_gs_ros.nodes.worker import BoundedQueue


class Grounds(Protocol):
    """What this module needs of ``lift_gs_ros.grounding.grounder.Grounder``."""

    weights: str
    settings: Any
    warn: Callable[[str], object]  # called where memory does not suffice

    @property
    def device(self) -> str:
        """Where the model is."""

    def update(self, key: ChunkKey, cloud: PointCloud) -> None:
        """Replace a chunk."""

    def encode(self, budget: int | None = None) -> bool:
        """Encode changed chunks; True while some remain."""

    def set_map(self, summary: MapSummary, stamp: int) -> None:
        """Note which map the chunks come from."""

    def clear(self) -> None:
        """Forget the map."""

    def to(self, device: str) -> None:
        """Move the model to 'cpu', 'cuda', 'cuda:N' or 'auto'."""

    def ground(self, query: str) -> Grounding:
        """Answer a query."""


@dataclass
class Question:
    """A query on its way; ``reply`` is where a service waits, None for the topic."""

    text: str
    reply: Future | None = None
    arrived: float = field(default_factory=time.monotonic)


class Answering:
    """Queries first, then one encoding at a time; the last query stays current.

    ``put_chunk`` and ``ask`` may be called from any thread, ``step`` only from one worker, which
    alone touches the grounder. ``values`` are the parameters of grounding_node.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        load: Callable[[], Grounds],
        publish: Callable[[Grounding, str], None],
        report: Report,
    ) -> None:
        self._values, self._load, self._publish, self._report = values, load, publish, report
        self._questions: BoundedQueue[Question] = BoundedQueue(values['query_queue_size'])
        self._lock = threading.Lock()
        self._chunks: dict[ChunkKey, ChunkUpdate] = {}  # the newest state of each changed one
        self._grounder: Grounds | None = None
        self._sizes: dict[ChunkKey, int] = {}
        self._fingerprints: dict[ChunkKey, int] = {}
        self._current = ''
        self._to_encode = self._encoded = self._stale = False
        self._due = 0.0
        self._stamp, self._frame_id = 0, values['map_frame']
        self._map_id: int | None = None
        self._past_maps: deque[int] = deque(maxlen=100)
        self.summary = MapSummary()

    @property
    def encoding(self) -> bool:
        """Whether chunks wait to be encoded: answers do not know them yet."""
        return self._to_encode or bool(self._chunks)

    def put_chunk(self, update: ChunkUpdate) -> None:
        """Take in the newest state of a chunk."""
        with self._lock:
            self._chunks.pop(update.key, None)
            self._chunks[update.key] = update

    def ask(self, question: Question) -> None:
        """Take in a query; when too many wait, the oldest is refused."""
        dropped = self._questions.put(question)
        if dropped is not None:
            self._report.problem(
                'dropped_queries', f'more than {len(self._questions)} were waiting'
            )
            self._turn_away(dropped, 'too many queries are waiting')

    def close(self, reason: str) -> None:
        """Turn away what still waits; the worker has ended."""
        for question in self._questions.take_all():
            self._turn_away(question, reason)

    def _turn_away(self, question: Question, reason: str) -> None:
        if question.reply is not None:
            question.reply.set_result((self._refuse(question.text, reason), ''))

    def step(self) -> None:
        """Do the most urgent thing; returns after a tenth of a second where there is none."""
        if self._grounder is None:
            self._grounder = self._load()
        question = self._questions.get(timeout=0.0 if self.encoding else 0.1)
        # Before the answers: taking chunks in is quick, and nobody is told of "no map" when one is
        # waiting here, as after loading the model. Encoding them is slow and comes after.
        self._take_chunks()
        if question is not None:
            if question.reply is None and not self._encoded:
                self._encode_one()  # a first answer soon; the other chunks follow
            for waiting in [question, *self._questions.take_all()]:
                self._answer(waiting)
        self._encode_one()
        if self._current and self._stale and time.monotonic() >= self._due:
            self._answer(Question(self._current))

    def _encode_one(self) -> None:
        assert self._grounder is not None
        if self._to_encode:
            begin = time.monotonic()
            try:
                self._to_encode = self._grounder.encode(budget=1)
            except Exception as error:  # the next chunk may fit, and this one when it changes
                text = f'{type(error).__name__}: {error}'
                self._report.problem('failed_encodes', text, ERROR)
                return
            self._report.time('encode', time.monotonic() - begin)
            self._encoded = True
            self._stale = True  # whatever was answered before knew less

    def _take_chunks(self) -> None:
        assert self._grounder is not None
        with self._lock:
            updates, self._chunks = list(self._chunks.values()), {}
        for update in updates:
            if update.map_id in self._past_maps:
                self._report.problem(
                    'chunks_of_past_maps',
                    f'map {self._map_id:x} has taken the place of map {update.map_id:x}: '
                    'do two nodes publish map_chunks?',
                )
                continue
            if update.map_id != self._map_id:
                if self._map_id is not None:
                    self._past_maps.append(self._map_id)
                self.forget_map()
                self._map_id = update.map_id
            try:
                self._apply(update)
                self._summarise(update)
            except ValueError as error:  # the others are as good as before
                self._report.problem('bad_chunks', error)

    def _apply(self, update: ChunkUpdate) -> None:
        assert self._grounder is not None
        # A new reader of map_chunks makes the mapping node send everything again.
        fingerprint = hash((update.cloud.positions.tobytes(), update.cloud.colors.tobytes()))
        if self._fingerprints.get(update.key) == fingerprint:
            return
        if not self._sizes:
            self._grounder.settings = replace(
                self._grounder.settings, frame_id=update.frame_id, chunk_size=update.chunk_size
            )
        self._grounder.update(update.key, update.cloud)
        self._sizes.pop(update.key, None)
        self._fingerprints.pop(update.key, None)
        if len(update.cloud):
            self._sizes[update.key] = len(update.cloud)
            self._fingerprints[update.key] = fingerprint
        self._to_encode = self._stale = True

    def _summarise(self, newest: ChunkUpdate) -> None:
        assert self._grounder is not None
        voxels, chunks = sum(self._sizes.values()), len(self._sizes)
        self.summary = replace(newest.map, voxels=voxels, chunks=chunks)
        self._stamp, self._frame_id = newest.stamp, newest.frame_id
        self._grounder.set_map(self.summary, newest.stamp)

    def forget_map(self) -> None:
        """Start again without a map. Not while the worker runs, except by the worker."""
        if self._grounder is not None:
            self._grounder.clear()
        self._sizes, self._fingerprints, self.summary = {}, {}, MapSummary()
        self._map_id = None
        self._encoded, self._stale = False, True

    def _answer(self, question: Question) -> None:
        """Answer to the service that asked, or on the topics."""
        grounding = self._ground(question)
        answer = grounding, getattr(self._grounder, 'weights', '')
        if question.reply is not None:
            question.reply.set_result(answer)
            return
        self._current = question.text if self._refusal(question.text) is None else ''
        self._stale = False
        self._due = time.monotonic() + 1 / self._values['answer_rate']
        self._publish(*answer)

    def _refusal(self, text: str) -> str | None:
        limit = self._values['max_query_length']
        if not text.strip():
            return 'empty query'
        if len(text) > limit:
            return f'query of {len(text)} characters, expected at most {limit}'
        return None

    def _ground(self, question: Question) -> Grounding:
        assert self._grounder is not None
        refusal = self._refusal(question.text)
        if refusal is not None:
            return self._refuse(question.text, refusal)
        if not self._sizes:
            return self._refuse(question.text, 'no map yet')
        thresholds = {key: self._values[key] for key in ('score_threshold', 'mask_threshold')}
        self._grounder.settings = replace(self._grounder.settings, **thresholds)
        try:
            grounding = self._grounder.ground(question.text)
        except Exception as error:  # a query must not stop the node, whatever it holds
            self._report.problem('failed_queries', f'{type(error).__name__}: {error}')
            return self._refuse(question.text, f'failed: {type(error).__name__}: {error}')
        self._report.count('answers')
        seconds = time.monotonic() - question.arrived
        self._report.time('answer', seconds)
        self._report.time('decode', grounding.latency.decode_ms / 1e3)
        return replace(grounding, latency=replace(grounding.latency, total_ms=1e3 * seconds))

    def _refuse(self, text: str, reason: str) -> Grounding:
        return Grounding(
            query=text[: self._values['max_query_length']],
            stamp=self._stamp,
            frame_id=self._frame_id,
            message=reason,
            map=self.summary,
        )
