"""What the network is asked for a query: its sentence, or each of the things that it compares.

Of "the mug next to the sink" the network is asked for "the mug" and for "the sink", each by itself,
as in fine-tuning; which mug is meant is for the relation head to say. In a sentence of several
things the network takes one of them for another more often, and of a large map nothing that was
found could be kept for other sentences with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.phrases import Phrase, noun_phrases
from lift_gs_ros.model.questions import Reading
from lift_gs_ros.model.tokens import LanguageTokens


@dataclass(frozen=True)
class Sentence:
    """A query with n noun phrases, in order, and for each how the network is asked for it."""

    tokens: LanguageTokens
    phrases: list[Phrase]
    readings: list[Reading]  # n, that of the whole query n times where it compares nothing
    spans: list[tuple[int, int]]  # n, characters [begin, end) of each phrase in its reading

    @property
    def names(self) -> list[str]:
        """The words of each phrase."""
        return [self.tokens.text[phrase.begin : phrase.end] for phrase in self.phrases]


def read_sentence(
    text: str, language: LanguageEncoder, read: Callable[[LanguageTokens], Reading]
) -> Sentence:
    """Find the phrases of a query that is not blank, and read what the network is asked."""
    tokens, phrases = language.encode_prompt(text), noun_phrases(text)
    if all(phrase.is_target for phrase in phrases):
        spans = [(phrase.begin, phrase.end) for phrase in phrases]
        return Sentence(tokens, phrases, [read(tokens)] * len(phrases), spans)
    names = [text[phrase.begin : phrase.end] for phrase in phrases]
    readings = [read(language.encode_prompt(name)) for name in names]
    return Sentence(tokens, phrases, readings, [(0, len(name)) for name in names])


def asked_of(sentences: Iterable[Sentence]) -> dict[str, Reading]:
    """Return each text that the network is asked for some sentences, once."""
    return {r.tokens.text: r for sentence in sentences for r in sentence.readings}
