"""What a sentence finds in an encoded map; what it found in parts that are as they were is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lift_gs_ros.grounding.encoded_map import EncodedMap
from lift_gs_ros.grounding.finds import Finds, Part
from lift_gs_ros.grounding.settings import GrounderSettings
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.local_decoder import Outcome
from lift_gs_ros.model.questions import (
    Glance,
    Question,
    Reading,
    ask_part,
    ask_whole,
    best_cosine,
    glances,
    share_out,
)
from lift_gs_ros.model.tiles import Tiles, moved

TOKENS_OF_ROOMS = 8000  # a map of more is asked part by part; the largest simulated room: 4300
LOOKS_AT_ONCE = 256  # of a sentence at a chunk; bounds the memory that it takes
TEXTS = 256  # whose parts are kept, some half a megabyte each


@dataclass(frozen=True)
class _Asked:
    """A question, and where its proposals begin."""

    question: Question
    home: int | None  # number of the chunk's encoding; None: the whole map
    origin: Tensor  # (3,) metres, what the masks' positions are kept relative to


@dataclass
class _Known:
    """What is known of a sentence, by the number of the encoding that it was found in."""

    best: dict[int, float] = field(default_factory=dict)  # cosines with a word
    glances: dict[int, Glance] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)

    def kept(self, asked: _Asked) -> Part | None:
        """Return what the very question came to before, if it is known."""
        part = None if asked.home is None else self.parts.get(asked.home)
        same = part and part.size == asked.question.places.shape[0]
        return part if same else None


class Asker:
    """Asks a model about an encoded map, and remembers what it said of each chunk."""

    def __init__(self, model: LiftGS, warn: Callable[[str], object]) -> None:
        self._model, self._warn = model, warn  # told when memory does not suffice
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._masks: Hashable = None  # the settings that decided the points of the masks

    def clear(self) -> None:
        """Forget what was found, and with it the memory of the device that it is on."""
        self._known.clear()

    def choose(
        self, encoded_map: EncodedMap, readings: Sequence[Reading], number: int
    ) -> list[Tensor]:
        """Choose for each sentence the chunks with the places most like a word: (K,) bool.

        ``number`` of them, or all where there are not more.
        """
        everywhere = torch.ones_like(encoded_map.tiles.sizes, dtype=torch.bool)
        if len(everywhere) <= number:
            return [everywhere] * len(readings)
        best = torch.tensor([self._best(encoded_map, reading) for reading in readings])
        none = torch.zeros(best.shape, dtype=torch.bool)
        return list(none.scatter(1, best.topk(number).indices, True).to(everywhere.device))

    def _best(self, encoded_map: EncodedMap, reading: Reading) -> list[float]:
        """Say how much the most similar place of each chunk is like a word of a sentence."""
        best = self._of(reading, encoded_map).best
        for tile, chunk in enumerate(encoded_map.chunks):
            if chunk.number not in best:
                best[chunk.number] = best_cosine(encoded_map.tiles, reading, tile)
        return [best[chunk.number] for chunk in encoded_map.chunks]

    def find(
        self,
        encoded_map: EncodedMap,
        readings: Sequence[Reading],
        chosen: Sequence[Tensor],  # (K,) bool of each, from ``choose``
        settings: GrounderSettings,
    ) -> list[Finds]:
        """Find what sentences ask for in the chunks that were chosen for each."""
        masks = settings.mask_threshold, settings.largest_component
        if masks != self._masks:
            self.clear()
            self._masks = masks
        known = [self._of(reading, encoded_map) for reading in readings]
        asked = self._questions(encoded_map, readings, known, chosen)
        parts = [[about.kept(question) for question in own] for about, own in zip(known, asked)]
        missing = [
            (i, j) for i, own in enumerate(parts) for j, part in enumerate(own) if part is None
        ]
        outcomes = self._decode(encoded_map.tiles, [asked[i][j].question for i, j in missing])
        for (i, j), outcome in zip(missing, outcomes):
            one = asked[i][j]
            embeddings = moved(outcome.mask_embeddings, one.origin - encoded_map.tiles.origin)
            found = replace(outcome, mask_embeddings=embeddings)
            parts[i][j] = part = Part(found, one.origin, one.home)
            if one.home is not None:
                known[i].parts[one.home] = part
        return [
            Finds(r.tokens, [p for p in own if p], where, encoded_map, settings, self._model)
            for r, own, where in zip(readings, parts, chosen)
        ]

    def _decode(self, tiles: Tiles, questions: Sequence[Question]) -> list[Outcome]:
        """Answer questions; short of memory, fewer at once."""
        try:
            return self._model.decode_many(tiles, questions)
        except torch.OutOfMemoryError:
            if len(questions) < 2:
                raise
        torch.cuda.empty_cache()
        half = len(questions) // 2
        self._warn(f'{half} of {len(questions)} questions at once')
        return self._decode(tiles, questions[:half]) + self._decode(tiles, questions[half:])

    def _questions(
        self,
        encoded_map: EncodedMap,
        readings: Sequence[Reading],
        known: Sequence[_Known],
        chosen: Sequence[Tensor],
    ) -> list[list[_Asked]]:
        """Ask each sentence on all its chunks together, or in a large map on one at a time."""
        tiles, decoder = encoded_map.tiles, self._model.decoder
        together: dict[tuple[bool, ...], list[int]] = {}
        alone = []
        for i, where in enumerate(chosen):
            if int(tiles.sizes[where].sum()) > TOKENS_OF_ROOMS:
                alone.append(i)
            else:
                together.setdefault(tuple(where.tolist()), []).append(i)
        asked: dict[int, list[_Asked]] = {}
        for group in together.values():
            some, where = [readings[i] for i in group], chosen[group[0]]
            for i, question in zip(group, ask_whole(decoder, tiles, some, where)):
                asked[i] = [_Asked(question, None, tiles.origin)]
        seen = self._look(
            encoded_map,
            [readings[i] for i in alone],
            [known[i] for i in alone],
            [chosen[i] for i in alone],
        )
        for i, glances_of in zip(alone, seen):
            shares = share_out(glances_of, 2 * decoder.config.max_proposals)
            asked[i] = [
                _Asked(
                    ask_part(decoder, tiles, readings[i], tile, places),
                    encoded_map.chunks[tile].number,
                    tiles.origins[tile],
                )
                for tile, places in shares.items()
            ]
        return [asked[i] for i in range(len(readings))]

    def _look(
        self,
        encoded_map: EncodedMap,
        readings: Sequence[Reading],
        known: Sequence[_Known],
        where: Sequence[Tensor],
    ) -> list[dict[int, Glance]]:
        """Say what the tiles (K,) bool of each sentence have that is like it."""
        numbers = [chunk.number for chunk in encoded_map.chunks]
        tiles = [own.nonzero()[:, 0].tolist() for own in where]
        missing = [
            (i, tile)
            for i, own in enumerate(tiles)
            for tile in own
            if numbers[tile] not in known[i].glances
        ]
        for first in range(0, len(missing), LOOKS_AT_ONCE):
            some = missing[first : first + LOOKS_AT_ONCE]
            asked = [(readings[i], tile) for i, tile in some]
            found = glances(self._model.decoder, encoded_map.tiles, asked, encoded_map.owned)
            for (i, tile), glance in zip(some, found):
                known[i].glances[numbers[tile]] = glance
        return [
            {tile: known[i].glances[numbers[tile]] for tile in own} for i, own in enumerate(tiles)
        ]

    def _of(self, reading: Reading, encoded_map: EncodedMap) -> _Known:
        """Return what is known of a sentence and still holds."""
        text = reading.tokens.text
        known = self._known.setdefault(text, _Known())
        self._known.move_to_end(text)
        while len(self._known) > TEXTS:
            self._known.popitem(last=False)
        there = {chunk.number for chunk in encoded_map.chunks}
        known.best = {n: own for n, own in known.best.items() if n in there}
        known.glances = {n: own for n, own in known.glances.items() if n in there}
        known.parts = {n: own for n, own in known.parts.items() if n in there}
        return known
