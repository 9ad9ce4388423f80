"""Noun phrases for the objects of a room, and what else they could be taken for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift_gs_ros.simulation.room import Room, RoomObject
from lift_gs_ros.simulation.words import Noun, color_words, nouns_of


@dataclass(frozen=True)
class Phrase:
    """A noun, perhaps with a colour, and the objects of the room that it fits."""

    noun: Noun
    color_name: str | None
    color_word: str
    sure: tuple[int, ...]  # ids of the objects that it names
    possible: tuple[int, ...]  # those, and what somebody might also mean

    def text(self, adjective: str = '', plural: bool = False) -> str:
        """The words, an adjective first."""
        noun = self.noun.plural if plural else self.noun.text
        return ' '.join(word for word in (adjective, self.color_word, noun) if word)

    @property
    def is_clear(self) -> bool:
        """Say whether nobody could mean more objects by it than those that it names."""
        return self.sure == self.possible


class Namer:
    """Finds words for the objects of a room."""

    def __init__(self, room: Room, rng: np.random.Generator) -> None:
        self.room = room
        self._rng = rng

    def phrase(self, noun: Noun, color_name: str | None = None) -> Phrase:
        """Look up what a noun, perhaps with a colour, stands for in this room."""
        pool = [o for o in self.room.objects if color_name in (None, o.color_name)]
        words = color_words(color_name) if color_name else ('',)
        return Phrase(
            noun,
            color_name,
            words[int(self._rng.integers(len(words)))],
            tuple(o.instance_id for o in pool if noun.matches(o)),
            tuple(o.instance_id for o in pool if noun.may_mean(o)),
        )

    def general(self, o: RoomObject, color: bool = False) -> Phrase:
        """Name an object by one of its kind's nouns, the first one more often than the rest."""
        nouns = [noun for noun in nouns_of(o) if not noun.variants]
        noun = nouns[0] if self._rng.random() < 0.5 else nouns[int(self._rng.integers(len(nouns)))]
        return self.phrase(noun, o.color_name if color else None)

    def unique(self, o: RoomObject) -> Phrase | None:
        """Name one object so that no other can be meant, by colour where the noun won't do."""
        tries = [self.general(o), self.general(o, color=True)]
        tries += [self.phrase(noun) for noun in nouns_of(o) if noun.variants]
        if self._rng.random() < 0.3:
            tries[:2] = tries[1::-1]
        return next((p for p in tries if p.possible == (o.instance_id,)), None)

    def groups(self, fewest: int) -> list[Phrase]:
        """Phrases that clearly name at least that many objects, with and without colour."""
        found: dict[tuple[int, ...], Phrase] = {}
        for o in self.room.objects:
            for color in (False, True):
                phrase = self.general(o, color)
                if phrase.is_clear and len(phrase.sure) >= fewest:
                    found.setdefault((*phrase.sure, int(color)), phrase)
        return list(found.values())
