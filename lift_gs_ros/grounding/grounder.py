"""Map chunks and a model in, answers to queries out: the one class that nodes, cli and viewer use.

A chunk is encoded once, when it changes; a query then costs the language encoder (cached) and the
mask decoder over the cached encodings (``asking.py``). Encoding is local to a chunk and its halo;
decoding is not, but in a large map.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lift_gs_ros.geometry import Camera, FloatArray, PointCloud
from lift_gs_ros.grounding.asking import Asker
from lift_gs_ros.grounding.assembly import Selection, assemble
from lift_gs_ros.grounding.breaks import Breaks
from lift_gs_ros.grounding.components import warm_up
from lift_gs_ros.grounding.encoded_map import EncodedChunk, EncodedMap
from lift_gs_ros.grounding.encoding_file import (
    EncodingFile,
    Parts,
    cloud_fingerprint,
    model_fingerprint,
)
from lift_gs_ros.grounding.finds import Finds
from lift_gs_ros.grounding.identity import InstanceRegistry
from lift_gs_ros.grounding.instances import GroundedInstance, Grounding, Latency, MapSummary
from lift_gs_ros.grounding.picture import draw
from lift_gs_ros.grounding.sentences import Sentence
from lift_gs_ros.grounding.settings import GrounderSettings
from lift_gs_ros.grounding.viewpoint import judged_from_camera
from lift_gs_ros.mapping.chunks import ChunkKey, halo_points, neighbours, with_halo
from lift_gs_ros.model.checkpoint import load_checkpoint
from lift_gs_ros.model.language import LanguageEncoder, load_language_encoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.naming import Naming
from lift_gs_ros.model.phrases import noun_phrases
from lift_gs_ros.model.questions import Reading
from lift_gs_ros.model.relations import RelationHead

NOUNS_IN_PROMPT = 12  # about as many phrases as in a prompt of the training
MOST_NOUNS = 24  # that are looked for where a query asks for everything
CHUNKS_AROUND = 9  # around the camera, where a query is about that: about a flat
TRUNCATED = (
    'a sentence of the query is longer than the language encoder takes: its end was not read'
)
NO_CAMERA = 'where the camera is, which this query depends on, is not known: it was read without'


def resolve_device(device: str) -> str:
    """Say which device 'auto' means; the others mean themselves."""
    if device != 'auto':
        return device
    return 'cuda' if torch.cuda.is_available() else 'cpu'


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
        naming: Naming | None = None,
    ) -> None:
        self.settings = settings or GrounderSettings()
        self._naming = naming
        self._relations = relations
        # Where the camera is (3,), metres in the map frame: what "closest to me", "the nearest
        # chair" and "left of the table" depend on. None: that is not known.
        self.camera: FloatArray | None = None
        # Told when memory does not suffice, and what was done about it.
        self.warn: Callable[[str], object] = warnings.warn
        self.weights = model.weights
        self._model = model.eval()
        self._language = language
        self._registry = InstanceRegistry()
        self._encodings_made = 0
        self._saved: dict[str, Parts] = {}  # encodings of a file, until their chunk comes
        self._encoded_view: EncodedMap | None = None
        self._asker = Asker(self._model, lambda text: self.warn(text))
        warm_up()  # at start-up, not in the first query
        self.clear()

    @classmethod
    def load(
        cls, checkpoint: str = '', device: str = 'auto', settings: GrounderSettings | None = None
    ) -> Grounder:
        """Load a checkpoint ('' = the one that ships) onto 'cpu', 'cuda' or 'auto'."""
        device = resolve_device(device)
        model = load_checkpoint(checkpoint, device)
        config = model.config
        language = load_language_encoder(config.language, query_tokens=config.query_tokens)
        language, relations = language.to(device), RelationHead.load(config.language)
        return cls(model, language, settings, relations, Naming(model, language))

    @property
    def device(self) -> str:
        """Where the model is."""
        return str(next(self._model.parameters()).device)

    def to(self, device: str) -> None:
        """Move to 'cpu', 'cuda', 'cuda:N' or 'auto'; the map is encoded anew where that changes it.

        'cuda' is any GPU: that where the model is. The memory of the device that is left is free
        for others.
        """
        target, current = torch.device(resolve_device(device)), torch.device(self.device)
        if target.type == current.type and target.index in (None, current.index):
            return
        self._encoded.clear()
        self._encoded_view = None
        self._asker.clear()
        self._dirty.update(dict.fromkeys(self._clouds))
        self._model.to(target)
        self._language.to(target)
        if current.type == 'cuda':
            torch.cuda.empty_cache()

    def clear(self) -> None:
        """Forget the map."""
        self._clouds: dict[ChunkKey, PointCloud] = {}
        self._encoded: dict[ChunkKey, EncodedChunk] = {}
        self._encoded_view = None
        self._dirty: dict[ChunkKey, None] = {}  # ordered: oldest change first
        self._map = self._encoded_map = MapSummary()
        self._stamp = self._encoded_stamp = 0
        self._encode_ms = 0.0
        self._registry.clear()
        self._asker.clear()

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
            self._encoded_view = None
        size, overlap = self.settings.chunk_size, self.settings.chunk_overlap
        for other in neighbours(key):
            if other in self._clouds:
                before = halo_points(old, other, size, overlap).positions
                after = halo_points(cloud, other, size, overlap).positions
                if not np.array_equal(before, after):
                    self._dirty[other] = None

    def encode(
        self, budget: int | None = None, between: Callable[[], object] = lambda: None
    ) -> bool:
        """Encode up to ``budget`` changed chunks (all by default); True while some remain.

        ``between`` is called after each layer where that takes long, on a CPU, unless nothing is
        encoded yet. It may call ``ground``, which answers from the encodings that there are.

        A chunk that can not be encoded raises, and is not tried again before it changes: what was
        known of it stays, and the next call goes on with the others.
        """
        breaks = Breaks(between)

        def layer_ends() -> None:
            if self._encoded and self.device == 'cpu':
                breaks()

        while self._dirty and (budget is None or budget > 0):
            key = next(iter(self._dirty))
            try:
                self._encoded[key] = self._encode_chunk(key, layer_ends)
            finally:
                self._dirty.pop(key, None)
            self._encoded_view = None
            budget = None if budget is None else budget - 1
            self._encoded_map, self._encoded_stamp = self._map, self._stamp
        self._encode_ms += 1e3 * breaks.worked
        return bool(self._dirty)

    def _encode_chunk(self, key: ChunkKey, between: Callable[[], object]) -> EncodedChunk:
        """Encode a chunk; short of memory, without its neighbours' context, then on the CPU."""
        size, overlap = self.settings.chunk_size, self.settings.chunk_overlap
        for context in (overlap, 0.0):
            try:
                return self._encode_cloud(*with_halo(self._clouds, key, size, context), between)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                points = len(self._clouds[key])
                self.warn(f'chunk {key} of {points} points with {context} m of context')
        self._leave_gpu()
        return self._encode_cloud(*with_halo(self._clouds, key, size, overlap), between)

    def _leave_gpu(self) -> None:
        self.warn('the model works on the CPU from now on, until it is told to go back')
        self.to('cpu')

    @torch.inference_mode()
    def _encode_cloud(
        self,
        cloud: PointCloud,
        is_core: NDArray[np.bool_],
        between: Callable[[], object],
    ) -> EncodedChunk:
        num_core, points = int(is_core.sum()), (cloud.positions, cloud.colors)
        fingerprint = cloud_fingerprint(cloud, num_core)
        saved = self._saved.pop(fingerprint, None)
        if saved is None:
            with self._model.unet.calling(between):
                encoding = self._model.encode([points])[0]
        else:
            encoding = self._model.restore(points, *saved)
        self._encodings_made += 1
        return EncodedChunk(encoding, num_core, self._encodings_made, fingerprint)

    @cached_property
    def _fingerprint(self) -> str:
        return model_fingerprint(self._model)

    def snapshot(self) -> EncodingFile:
        """Return the encodings of chunks as they are now, to be written whenever there is time."""
        chunks = {
            chunk.fingerprint: Parts(*(getattr(chunk.encoding, name) for name in Parts._fields))
            for key, chunk in self._encoded.items()
            if key not in self._dirty
        }
        return EncodingFile(self._fingerprint, chunks)

    def restore(self, saved: EncodingFile) -> None:
        """Take encodings from here, each once, in the place of encoding the same points again.

        They are kept until then, for whatever map comes, or until others are given. ValueError
        where another model made them.
        """
        if saved.model != self._fingerprint:
            raise ValueError(
                f'the encodings were made by model {saved.model[:12]}, expected those of '
                f"{self._fingerprint[:12]} ('{self.weights}'): the checkpoint is another one; "
                'start the node with that of the file, or do without them'
            )
        self._saved = dict(saved.chunks)

    def ground(self, query: str) -> Grounding:
        """Answer a query from the newest encodings; encodes first only where there is none yet.

        The answer's ``map`` and ``stamp`` are those of the newest chunk that is encoded; it knows
        nothing of what has arrived since.
        """
        return self.ground_many([query])[0]

    def ground_many(self, queries: Sequence[str]) -> list[Grounding]:
        """Answer several queries at once, each as ``ground`` does alone."""
        return self._ground([(query, None) for query in queries])

    def ground_again(self, answers: Sequence[Grounding]) -> list[Grounding]:
        """Answer again, at once, those queries whose part of the map has changed since.

        The others keep the answer that they have. A query is also answered again when other chunks
        than before are most similar to it, and when the settings have changed.
        """
        return self._ground([(answer.query, answer) for answer in answers])

    def render(self, camera: Camera, world_from_camera: FloatArray) -> NDArray[np.uint8]:
        """Draw the Gaussians of the encoded map as a camera would see them: (H, W, 3)."""
        return draw(list(self._encoded.values()), camera, world_from_camera)

    def _ground(self, questions: Sequence[tuple[str, Grounding | None]]) -> list[Grounding]:
        begin = time.perf_counter()
        if not self._encoded and any(query.strip() for query, _ in questions):
            self.encode()
        if not self._dirty:  # what came since changed nothing
            self._encoded_map, self._encoded_stamp = self._map, self._stamp
        try:
            return self._answer(questions, begin)
        except torch.OutOfMemoryError:
            self._leave_gpu()
            self.encode()
            return self._answer(questions, begin)

    def _answer(
        self, questions: Sequence[tuple[str, Grounding | None]], begin: float
    ) -> list[Grounding]:
        answers = [self._refusal(query) for query, _ in questions]
        sentences = {
            i: self._sentence(query)
            for i, (query, _) in enumerate(questions)
            if not answers[i].message
        }
        readings = self._read(sentences.values())
        chunks_of = self._choose(readings)
        to_find: dict[int, Sentence] = {}
        for i, sentence in sentences.items():
            basis = self._basis(sentence, chunks_of)
            query, before = questions[i]
            if before is not None and before.basis == basis:
                answers[i] = before
                continue
            to_find[i] = sentence
            answers[i] = replace(answers[i], basis=basis, message=self._unread(query))
        decode_begin = time.perf_counter()
        for i, (instances, none_score) in self._find(to_find, readings, chunks_of).items():
            answers[i] = replace(answers[i], instances=instances, none_score=none_score)
        end = time.perf_counter()
        latency = Latency(self._encode_ms, 1e3 * (end - decode_begin), 1e3 * (end - begin))
        if to_find:
            self._encode_ms = 0.0
        return [
            replace(answer, latency=latency) if i in to_find else answer
            for i, answer in enumerate(answers)
        ]

    def _refusal(self, query: str) -> Grounding:
        """Return an answer with the reason why there can be none, or without a message."""
        message = ''
        if not query.strip():
            message = 'empty query'
        elif not noun_phrases(query):
            message = 'the query has no words'
        elif not self._clouds:
            message = 'no map yet'
        elif not self._encoded:
            message = 'no part of the map could be encoded'
        return Grounding(
            query=query,
            stamp=self._encoded_stamp,
            frame_id=self.settings.frame_id,
            map=self._encoded_map,
            message=message,
        )

    def _unread(self, query: str) -> str:
        """Say what of a query is not answered, if anything."""
        is_cut = self._language.encode_prompt(query).truncated
        is_blind = self.camera is None and self._relations is not None
        is_unplaced = is_blind and judged_from_camera(query) is not None
        return '; '.join([TRUNCATED] * is_cut + [NO_CAMERA] * is_unplaced)

    def _view(self) -> EncodedMap:
        if self._encoded_view is None:
            self._encoded_view = EncodedMap(self._encoded)
        return self._encoded_view

    def _sentence(self, query: str) -> Sentence:
        """Say what is asked for a query: things by themselves where the rest is read besides."""
        if self._relations is None:
            return Sentence.whole(query)
        return Sentence.of_things(query, self.camera)

    def _read(self, sentences: Iterable[Sentence]) -> dict[str, Reading]:
        """Read what is asked for sentences, each text once."""
        texts = dict.fromkeys(text for sentence in sentences for text in sentence.texts)
        return {text: self._model.read(self._language.encode_prompt(text)) for text in texts}

    def _choose(self, readings: Mapping[str, Reading]) -> dict[str, Tensor]:
        """Choose the chunks (K,) bool in which each text is looked for."""
        if not readings:
            return {}
        number = self.settings.max_chunks
        return dict(
            zip(readings, self._asker.choose(self._view(), list(readings.values()), number))
        )

    def _around_camera(self, sentence: Sentence) -> Tensor:
        """Return the chunks (K,) bool around the camera, if that matters."""
        view = self._view()
        chosen = torch.zeros_like(view.tiles.sizes, dtype=torch.bool)
        if sentence.camera is not None:
            chosen[view.nearest(sentence.camera, CHUNKS_AROUND)] = True
        return chosen

    def _union(self, chunks_of: Mapping[str, Tensor], sentence: Sentence) -> Tensor:
        """Return the chunks (K,) bool in which any of a sentence's things is looked for."""
        chosen = self._around_camera(sentence)
        for text in sentence.texts:
            chosen = chosen | chunks_of[text]
        return chosen

    def _basis(self, sentence: Sentence, chunks_of: Mapping[str, Tensor]) -> Hashable:
        """Return what an answer rests on: the same basis, the same answer."""
        chunks = self._view().basis(self._union(chunks_of, sentence), self.settings)
        if sentence.camera is None:
            return chunks
        return chunks, tuple(sentence.camera.tolist())

    def _nouns(
        self, sentence: Sentence, chunks_of: Mapping[str, Tensor]
    ) -> list[tuple[Sentence, Finds]] | None:
        """Find the likeliest nouns for "everything on the table"; None for other sentences."""
        said = [phrase.open for phrase in sentence.phrases if phrase.open is not None]
        is_judged = self._relations is not None or len(sentence.phrases) == 1
        if self._naming is None or not said or not is_judged:
            return None
        chosen = self._union(chunks_of, sentence)
        tiles = chosen.nonzero()[:, 0].tolist()
        features = [self._view().tiles.encodings[tile].token_features for tile in tiles]
        nouns = self._naming.names_of(torch.cat(features))
        names = [f'{said[0]} {noun}'.strip() for noun in nouns[:MOST_NOUNS]]
        prompts = [
            Sentence.whole('. '.join(names[i : i + NOUNS_IN_PROMPT]))
            for i in range(0, len(names), NOUNS_IN_PROMPT)
        ]
        readings = self._read(prompts)
        found = self._asker.find(
            self._view(), list(readings.values()), [chosen] * len(readings), self.settings
        )
        return list(zip(prompts, found))

    @torch.inference_mode()
    def _find(
        self,
        sentences: Mapping[int, Sentence],
        readings: Mapping[str, Reading],
        chunks_of: Mapping[str, Tensor],
    ) -> dict[int, tuple[list[GroundedInstance], float]]:
        """Return instances and none score of sentences, each text looked for in its chunks."""
        if not sentences:
            return {}
        # A text of two sentences is asked twice where only one of them is about the camera.
        chosen = {
            (text, sentence.camera is None): chunks_of[text] | self._around_camera(sentence)
            for sentence in sentences.values()
            for text in sentence.texts
        }
        asked = [readings[text] for text, _ in chosen]
        finds = self._asker.find(self._view(), asked, list(chosen.values()), self.settings)
        found = dict(zip(chosen, finds))
        selection = Selection(self.settings, self._naming)
        return {
            i: assemble(
                sentence,
                self._language.encode_prompt(sentence.to_judge[0]),
                {text: found[text, sentence.camera is None] for text in sentence.texts},
                self._nouns(sentence, chunks_of),
                self._view(),
                self.settings,
                selection,
                self._relations,
                self._registry,
            )
            for i, sentence in sentences.items()
        }
