"""What the network is asked for a query: its sentence, or each of the things that it compares.

Of "the mug next to the sink" the network is asked for "the mug" and for "the sink", each by itself;
which mug is meant is for the relation head to say. In a sentence of several things the network
takes one of them for another more often, and of a large map nothing that was found could be kept
for other sentences with the same words. Where the camera is ("closest to me") is nothing to ask the
network for: where it is not known, the rest is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.grounding.viewpoint import Judged, judged_from_camera
from lift_gs_ros.model.phrases import Phrase, noun_phrases

MOST_THINGS = 8  # asked one by one; what names more is asked as it is, for each is a question


@dataclass(frozen=True)
class Sentence:
    """A query with n noun phrases, in order, and for each what the network is asked."""

    text: str
    phrases: list[Phrase]
    # (n,) texts to be asked, the whole query n times where it is asked at once. None: nouns are
    # asked in its place ("everything" of "everything on the table"), or it names the camera.
    asked: list[str | None]
    spans: list[tuple[int, int]]  # (n,) characters [begin, end) of each phrase in what is asked
    judged: Judged  # what the relation head reads, before ``to_judge``
    camera: NDArray[np.floating] | None = None  # (3,) metres, where it matters where that is

    @classmethod
    def whole(cls, text: str) -> Sentence:
        """Ask a query that is not blank as it is, without what it says of the camera."""
        found = noun_phrases(text)
        phrases = [phrase for phrase in found if not phrase.is_camera]
        if len(phrases) < len(found):  # "what is next to me" is not all that there is
            phrases = [replace(phrase, open=None, each=False) for phrase in phrases]
        spans = [(phrase.begin, phrase.end) for phrase in phrases]
        judged = Judged(text, phrases, phrases)
        return cls(text, phrases, [text] * len(phrases), spans, judged)

    @classmethod
    def of_things(cls, text: str, camera: NDArray[np.floating] | None = None) -> Sentence:
        """Ask for each thing that a query compares by itself; a list is asked whole.

        camera: (3,) metres; None where it is not known.
        """
        whole = cls.whole(text)
        judged = None if camera is None else judged_from_camera(text)
        if judged is None:
            judged, camera = whole.judged, None
        names = [text[phrase.begin : phrase.end] for phrase in judged.said]
        if all(p.is_target for p in judged.said) or len(set(names)) > MOST_THINGS:
            return whole
        asked = [
            name if name and phrase.open is None and not phrase.is_camera else None
            for name, phrase in zip(names, judged.said)
        ]
        spans = [(0, len(name)) for name in names]
        return cls(text, judged.said, asked, spans, judged, camera)

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
        read = self.judged
        target = next((p for p in read.phrases if p.each and p.open is None), None)
        if target is None:
            return read.text, read.phrases
        text = f'{read.text[: target.begin]}everything{read.text[target.end :]}'
        longer = len(text) - len(read.text)
        return text, [
            replace(p, begin=p.begin + longer * (p is not target), end=p.end + longer)
            if p.begin >= target.begin
            else p
            for p in read.phrases
        ]
