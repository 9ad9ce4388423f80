"""What the network is asked for a query: its sentence, or each of the things that it compares.

Of "the mug next to the sink" the network is asked for "the mug" and for "the sink", each by itself;
which mug is meant is for the relation head to say. In a sentence of several things the network
takes one of them for another more often, and of a large map nothing that was found could be kept
for other sentences with the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lift_gs_ros.model.phrases import Phrase, noun_phrases

MOST_THINGS = 8  # asked one by one; what names more is asked as it is, for each is a question


@dataclass(frozen=True)
class Sentence:
    """A query with n noun phrases, in order, and for each what the network is asked."""

    text: str
    phrases: list[Phrase]
    # (n,) texts to be asked, the whole query n times where it is asked at once. None: nouns are
    # asked in its place ("everything" of "everything on the table").
    asked: list[str | None]
    spans: list[tuple[int, int]]  # (n,) characters [begin, end) of each phrase in what is asked

    @classmethod
    def whole(cls, text: str) -> Sentence:
        """Ask a query that is not blank as it is."""
        phrases = noun_phrases(text)
        spans = [(phrase.begin, phrase.end) for phrase in phrases]
        return cls(text, phrases, [text] * len(phrases), spans)

    @classmethod
    def of_things(cls, text: str) -> Sentence:
        """Ask for each thing that a query compares by itself; a list is asked whole."""
        whole = cls.whole(text)
        names = whole.names
        if all(phrase.is_target for phrase in whole.phrases) or len(set(names)) > MOST_THINGS:
            return whole
        asked = [
            name if phrase.open is None else None for name, phrase in zip(names, whole.phrases)
        ]
        return cls(text, whole.phrases, asked, [(0, len(name)) for name in names])

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
