"""What the network is asked for a query: its sentence, or each of the things that it compares.

Of "the mug next to the sink" the network is asked for "the mug" and for "the sink", each by itself;
which mug is meant is for the relation head to say. In a sentence of several things the network
takes one of them for another more often, and of a large map nothing that was found could be kept
for other sentences with the same words. Where the camera is ("closest to me", "the nearest chair",
"left of the table") is nothing to ask the network for: where it is not known, the rest is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.model.phrases import Phrase, is_place, noun_phrases, says_side, way_from_camera

MOST_THINGS = 8  # asked one by one; what names more is asked as it is, for each is a question


@dataclass(frozen=True)
class Sentence:
    """A query with n noun phrases, in order, and for each what the network is asked."""

    text: str  # as it was asked, or longer: "the nearest chair to me"
    phrases: list[Phrase]
    # (n,) texts to be asked, the whole query n times where it is asked at once. None: nouns are
    # asked in its place ("everything" of "everything on the table"), or it is where the camera is.
    asked: list[str | None]
    spans: list[tuple[int, int]]  # (n,) characters [begin, end) of each phrase in what is asked
    camera: NDArray[np.floating] | None = None  # (3,) metres, where it matters where that is

    @classmethod
    def whole(cls, text: str) -> Sentence:
        """Ask a query that is not blank as it is, without what it says of the camera."""
        found = noun_phrases(text)
        phrases = [phrase for phrase in found if not phrase.is_camera]
        if len(phrases) < len(found):  # "what is next to me" is not all that there is
            phrases = [replace(phrase, open=None, each=False) for phrase in phrases]
        spans = [(phrase.begin, phrase.end) for phrase in phrases]
        return cls(text, phrases, [text] * len(phrases), spans)

    @classmethod
    def of_things(cls, text: str, camera: NDArray[np.floating] | None = None) -> Sentence:
        """Ask for each thing that a query compares by itself; a list is asked whole.

        camera: (3,) metres; None where it is not known.
        """
        whole = cls.whole(text)
        text, phrases = (text, whole.phrases) if camera is None else _with_camera(text)
        names = [text[phrase.begin : phrase.end] for phrase in phrases]
        asked = [
            None if phrase.is_camera or phrase.open is not None else name
            for name, phrase in zip(names, phrases)
        ]
        if all(phrase.is_target for phrase in phrases) or len(set(names)) > MOST_THINGS:
            return whole
        if not any(phrase.is_camera for phrase in phrases):
            camera = None
        return cls(text, phrases, asked, [(0, len(name)) for name in names], camera)

    @staticmethod
    def mentions_camera(text: str) -> bool:
        """Say whether it matters to a query where the camera is."""
        return any(phrase.is_camera for phrase in _with_camera(text)[1])

    @property
    def names(self) -> list[str]:
        """The words of each phrase."""
        return [self.text[phrase.begin : phrase.end] for phrase in self.phrases]

    @property
    def texts(self) -> list[str]:
        """What is asked, once each."""
        return list(dict.fromkeys(text for text in self.asked if text is not None))

    @property
    def to_judge(self) -> tuple[str, list[Phrase]]:
        """What the relation head reads, and its phrases: for several things "everything on ...".

        That one it has learnt to answer for each thing by itself.
        """
        target = next((p for p in self.phrases if p.each and p.open is None), None)
        if target is None:
            return self.text, self.phrases
        text = f'{self.text[: target.begin]}everything{self.text[target.end :]}'
        longer = len(text) - len(self.text)
        return text, [
            replace(p, begin=p.begin + longer * (p is not target), end=p.end + longer)
            if p.begin >= target.begin
            else p
            for p in self.phrases
        ]


def _with_camera(text: str) -> tuple[str, list[Phrase]]:
    """Read a query, and say what it leaves unsaid of the camera."""
    phrases = noun_phrases(text)
    unsaid = _unsaid(text, phrases)
    if not unsaid:
        return text, phrases
    longer = text.rstrip(' .,;:?!') + unsaid
    begin = len(longer) - len(unsaid.split()[-1])
    return longer, [*phrases, Phrase(begin, len(longer), is_target=False, is_camera=True)]


def _unsaid(text: str, phrases: Sequence[Phrase]) -> str:
    """Return what one of two readings needs: the nearest to me, left of it as seen from me.

    '' where a query says to what its target is nearest, from where it is left of something, or
    more than the relation head can take in.
    """
    targets = [phrase for phrase in phrases if phrase.is_target]
    others = [p for p in phrases if not (p.is_target or is_place(text[p.begin : p.end]))]
    if len(targets) != 1 or len(others) > 1 or any(phrase.is_camera for phrase in others):
        return ''
    if not others:
        return way_from_camera(text[targets[0].begin : targets[0].end])
    [anchor] = others
    before = max((p.end for p in phrases if p.end <= anchor.begin), default=0)
    return ', seen from me' if says_side(text[before : anchor.begin]) else ''
