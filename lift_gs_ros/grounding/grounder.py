"""Map chunks and a model in, answers to queries out: the one class that nodes, cli and viewer use.

A chunk is encoded once, when it changes; a query then costs the language encoder (cached) and the
mask decoder over the cached encodings. Encoding is local to a chunk and its halo, decoding is not:
the tokens of all chunks in question are attended to together, with positions in the map frame.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.components import warm_up
from lift_gs_ros.grounding.identity import InstanceRegistry
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding, Latency, MapSummary
from lift_gs_ros.grounding.proposals import (
    MaskPoints,
    Proposal,
    phrase_tokens,
    select_proposals,
)
from lift_gs_ros.grounding.referring import resolve_reference
from lift_gs_ros.mapping.chunks import ChunkKey, halo_points, neighbours, with_halo
from lift_gs_ros.model.checkpoint import load_checkpoint
from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS, SceneEncoding
from lift_gs_ros.model.phrases import Phrase, noun_phrases
from lift_gs_ros.model.relations import RelationHead
from lift_gs_ros.model.tokens import LanguageTokens

TRUNCATED = (
    'a sentence of the query is longer than the language encoder takes: its end was not read'
)


@dataclass(frozen=True)
class GrounderSettings:
    """What a robot may want to tune; thresholds are probabilities."""

    frame_id: str = 'map'
    chunk_size: float = 6.45  # metres, that of the map
    chunk_overlap: float = 0.6  # metres of the neighbours that give a chunk its context
    score_threshold: float = 0.5  # instances below are not reported
    mask_threshold: float = 0.5  # a point belongs to an instance from here on
    max_instances: int = 20  # reported for one phrase
    max_chunks: int = 32  # attended to by one query; the most similar ones are chosen
    largest_component: bool = True  # drop points of a mask that do not hang together with it

    def __post_init__(self) -> None:
        for name in ('score_threshold', 'mask_threshold'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f'{name} is {value}, expected a probability in [0, 1]')
        for name in ('chunk_size', 'max_instances', 'max_chunks'):
            if (value := getattr(self, name)) <= 0:
                raise ValueError(f'{name} is {value}, expected a positive number')
        if not 0 <= self.chunk_overlap <= self.chunk_size:
            raise ValueError(
                f'chunk_overlap is {self.chunk_overlap} m, expected 0 to {self.chunk_size} m '
                '(the chunk size)'
            )


def resolve_device(device: str) -> str:
    """Say which device 'auto' means; the others mean themselves."""
    if device != 'auto':
        return device
    return 'cuda' if torch.cuda.is_available() else 'cpu'


@dataclass
class _EncodedChunk:
    encoding: SceneEncoding
    is_core: NDArray[np.bool_]  # (P,) the points that this chunk owns; the others are its halo


class Grounder:
    """Answers referring expressions on a growing map.

    Not thread-safe: one worker calls it. ``model`` and ``language`` are on the device to be used.
    """

    def __init__(
        self,
        model: LiftGS,
        language: LanguageEncoder,
        settings: GrounderSettings | None = None,
        relations: RelationHead | None = None,
    ) -> None:
        self.settings = settings or GrounderSettings()
        self._relations = relations
        # Told when memory does not suffice, and what was done about it.
        self.warn: Callable[[str], object] = warnings.warn
        self.weights = model.weights
        self._model = model.eval()
        self._language = language
        self._registry = InstanceRegistry()
        warm_up()  # at start-up, not in the first query
        self.clear()

    @classmethod
    def load(
        cls, checkpoint: str = '', device: str = 'auto', settings: GrounderSettings | None = None
    ) -> Grounder:
        """Load a checkpoint ('' = the one that ships) onto 'cpu', 'cuda' or 'auto'."""
        device = resolve_device(device)
        model = load_checkpoint(checkpoint, device)
        language = load_language_encoder(model.config.language).to(device)
        return cls(model, language, settings, RelationHead.load(model.config.language))

    @property
    def device(self) -> str:
        """Where the model is."""
        return str(next(self._model.parameters()).device)

    def to(self, device: str) -> None:
        """Move to 'cpu', 'cuda', 'cuda:N' or 'auto'; the map is encoded anew where that changes it.

        The memory of the device that is left is free for others.
        """
        target, current = (
            torch.device(resolve_device(device)),
            next(self._model.parameters()).device,
        )
        if target == current:
            return
        self._encoded.clear()
        self._dirty.update(dict.fromkeys(self._clouds))
        self._model.to(target)
        self._language.to(target)
        if current.type == 'cuda':
            torch.cuda.empty_cache()

    def clear(self) -> None:
        """Forget the map."""
        self._clouds: dict[ChunkKey, PointCloud] = {}
        self._encoded: dict[ChunkKey, _EncodedChunk] = {}
        self._dirty: dict[ChunkKey, None] = {}  # ordered: oldest change first
        self._map = self._encoded_map = MapSummary()
        self._stamp = self._encoded_stamp = 0
        self._encode_ms = 0.0
        self._registry.clear()

    def set_map(self, summary: MapSummary, stamp: int) -> None:
        """Note which map the chunks come from; ``stamp`` (ns) is that of its newest keyframe."""
        self._map, self._stamp = summary, stamp

    @property
    def num_dirty(self) -> int:
        """Chunks that changed and are not encoded yet."""
        return len(self._dirty)

    def update(self, key: ChunkKey, cloud: PointCloud) -> None:
        """Replace the core points of a chunk (map frame, metres); an empty cloud removes it.

        The chunk is encoded again, and so is a neighbour whose halo the change reaches.
        """
        old = self._clouds.get(key, PointCloud.empty())
        if len(cloud):
            self._clouds[key] = cloud
            self._dirty[key] = None
        else:
            self._clouds.pop(key, None)
            self._encoded.pop(key, None)
            self._dirty.pop(key, None)
        size, overlap = self.settings.chunk_size, self.settings.chunk_overlap
        for other in neighbours(key):
            if other in self._clouds:
                before = halo_points(old, other, size, overlap).positions
                after = halo_points(cloud, other, size, overlap).positions
                if not np.array_equal(before, after):
                    self._dirty[other] = None

    def encode(self, budget: int | None = None) -> bool:
        """Encode up to ``budget`` changed chunks (all by default); True while some remain.

        A chunk that can not be encoded raises, and is not tried again before it changes: what was
        known of it stays, and the next call goes on with the others.
        """
        begin = time.perf_counter()
        while self._dirty and (budget is None or budget > 0):
            key = next(iter(self._dirty))
            del self._dirty[key]
            self._encoded[key] = self._encode_chunk(key)
            self._dirty.pop(key, None)  # moving to another device has put it back
            budget = None if budget is None else budget - 1
            self._encoded_map, self._encoded_stamp = self._map, self._stamp
        self._encode_ms += 1e3 * (time.perf_counter() - begin)
        return bool(self._dirty)

    def _encode_chunk(self, key: ChunkKey) -> _EncodedChunk:
        """Encode a chunk; short of memory, without its neighbours' context, then on the CPU."""
        size, overlap = self.settings.chunk_size, self.settings.chunk_overlap
        for context in (overlap, 0.0):
            cloud, is_core = with_halo(self._clouds, key, size, context)
            try:
                return _EncodedChunk(self._encode_cloud(cloud), is_core)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                self.warn(f'chunk {key} of {len(cloud)} points with {context} m of context')
        self._leave_gpu()
        cloud, is_core = with_halo(self._clouds, key, size, overlap)
        return _EncodedChunk(self._encode_cloud(cloud), is_core)

    def _leave_gpu(self) -> None:
        self.warn('the model works on the CPU from now on, until it is told to go back')
        self.to('cpu')

    @torch.inference_mode()
    def _encode_cloud(self, cloud: PointCloud) -> SceneEncoding:
        return self._model.encode([(cloud.positions, cloud.colors)])[0]

    def ground(self, query: str) -> Grounding:
        """Answer a query from the newest encodings; encodes first only where there is none yet.

        The answer's ``map`` and ``stamp`` are those of the newest chunk that is encoded; it knows
        nothing of what has arrived since.
        """
        begin = time.perf_counter()
        if query.strip() and not self._encoded:
            self.encode()
        if not self._dirty:  # what came since changed nothing
            self._encoded_map, self._encoded_stamp = self._map, self._stamp
        answer = Grounding(
            query=query,
            stamp=self._encoded_stamp,
            frame_id=self.settings.frame_id,
            map=self._encoded_map,
        )
        if not query.strip():
            return replace(answer, message='empty query')
        if not self._clouds:
            return replace(answer, message='no map yet')
        if not self._encoded:
            return replace(answer, message='no part of the map could be encoded')
        decode_begin = time.perf_counter()
        try:
            instances, none_score = self._decode(query)
        except torch.OutOfMemoryError:
            self._leave_gpu()
            self.encode()
            instances, none_score = self._decode(query)
        end = time.perf_counter()
        latency = Latency(self._encode_ms, 1e3 * (end - decode_begin), 1e3 * (end - begin))
        self._encode_ms = 0.0
        answer = replace(answer, instances=instances, none_score=none_score, latency=latency)
        if self._language.encode_prompt(query).truncated:
            answer = replace(answer, message=TRUNCATED)
        return answer

    @torch.inference_mode()
    def _decode(self, query: str) -> tuple[list[GroundedInstance], float]:
        settings = self.settings
        tokens = self._language.encode_prompt(query)
        phrases = noun_phrases(query)
        chunks = self._chunks_in_question(tokens)
        is_core = np.concatenate([chunk.is_core for chunk in chunks])
        decoded = self._model.decode([chunk.encoding for chunk in chunks], tokens)
        positions = np.concatenate([c.encoding.positions.cpu().numpy() for c in chunks])[is_core]
        core = torch.from_numpy(is_core).to(decoded.correspondence.device)
        link_distance = 2.5 * self._model.config.voxel_size if settings.largest_component else None
        masks = MaskPoints(
            decoded.mask_logits()[core].sigmoid().float().cpu().numpy(),
            positions,
            settings.mask_threshold,
            link_distance,
        )
        instances: list[GroundedInstance] = []
        target_score = 0.0
        found = []
        for phrase in phrases:
            on_phrase = phrase_tokens(tokens.spans, (phrase.begin, phrase.end))
            probability = decoded.span_probability(on_phrase).float().cpu().numpy()
            found.append(select_proposals(masks, probability, settings.score_threshold))
        if self._relations is not None:
            found = resolve_reference(self._relations, tokens, phrases, found, positions)
        for phrase, proposals in zip(phrases, found):
            if phrase.is_target and proposals:
                target_score = max(target_score, proposals[0].score)
            kept = [p for p in proposals if p.score >= settings.score_threshold]
            for proposal in kept[: settings.max_instances]:
                taken = {instance.instance_id for instance in instances}
                instances.append(self._instance(query, phrase, proposal, positions, taken))
        instances.sort(key=lambda instance: (not instance.is_target, -instance.score))
        return instances, 1.0 - target_score

    def _instance(
        self,
        query: str,
        phrase: Phrase,
        proposal: Proposal,
        positions: NDArray[np.float32],
        taken: set[int],  # numbers of the answer's other instances
    ) -> GroundedInstance:
        points = positions[proposal.point_indices]
        box = Box.from_points(points)
        return GroundedInstance(
            instance_id=self._registry.identify(box, taken),
            phrase=query[phrase.begin : phrase.end],
            span=(phrase.begin, phrase.end),
            is_target=phrase.is_target,
            score=proposal.score,
            box=box,
            points=points,
            point_scores=proposal.point_scores,
        )

    def _chunks_in_question(self, tokens: LanguageTokens) -> list[_EncodedChunk]:
        """All chunks, or in a large map those with the features most similar to the query."""
        chunks = [self._encoded[key] for key in sorted(self._encoded)]
        if len(chunks) <= self.settings.max_chunks:
            return chunks
        similarity = [self._model.similarity(chunk.encoding, tokens) for chunk in chunks]
        best = np.argsort(similarity)[::-1][: self.settings.max_chunks]
        return [chunks[i] for i in sorted(best)]
