"""Pseudo queries from what a captioning model said about 2D masks (LIFT-GS, A.4).

A caption is "red office chair": a colour and a noun, which may say more ("chair with wheels").
Queries are made of the captions in view, in other words too (a thesaurus knows that an office chair
is a chair), joined as in the detection prompts of MDETR and GLIP ("red chair. wooden table."), or
one alone, as people ask. Distractors (right noun, wrong colour) and absent things teach "no
object". Nothing here knows a 3D label.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.grounding.proposals import phrase_tokens
from lift_gs_ros.model import lexicon
from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.naming import ROOM
from lift_gs_ros.model.tokens import LanguageTokens
from lift_gs_ros.simulation.vocabulary import COLORS, HELD_OUT_PAIRS
from lift_gs_ros.simulation.words import (
    ABSENT_NOUNS,
    NOUNS,
    WRAPPERS,
    Noun,
    article,
    color_words,
)

NOUN_OF_TEXT = {text: noun for noun in NOUNS for text in (noun.plural, noun.text)}
KINDS_WITH_NOUNS = tuple(dict.fromkeys(noun.kind for noun in NOUNS))
_COLOR_OF_WORD = {word: color for color in COLORS for word in color_words(color)}

# What a noun means by its end: a "digital clock" is a clock, and a "brick wall" a wall.
_OTHERS = tuple(Noun(text, text) for text in (*ABSENT_NOUNS, *sorted(ROOM)))
_KIND_OF = {text: noun.kind for noun in (*_OTHERS, *NOUNS) for text in (noun.plural, noun.text)}
# What begins with one of these words says more of a thing that is named before.
_BEHIND = lexicon.RELATIONS | lexicon.DETERMINERS | {
    'facing', 'holding', 'containing', 'wearing', 'supporting', 'showing', 'displaying',
    'depicting', 'featuring', 'using',
}  # fmt: skip
# What may stand between the name and such a word: "chair right next | to", "shelf full | of".
_BETWEEN = lexicon.PARTICIPLES | lexicon.TRAILING | {'made', 'out', 'full', 'hung'}
# Before "of": how many of a thing there are, or which part of it is seen.
_SHARES = lexicon.SPATIAL_NOUNS | {
    'pile', 'stack', 'pair', 'set', 'row', 'group', 'bunch', 'collection', 'piece', 'part',
    'section', 'edge',
}  # fmt: skip


@dataclass(frozen=True)
class QueryMix:
    """How often each kind of query is drawn; the rest are prompts of several captions."""

    single: float = 0.4  # one caption, as people ask
    absent: float = 0.15  # of the single ones: something that no mask in view is
    no_color: float = 0.3  # of all phrases: the noun alone
    synonym: float = 0.35  # of all phrases: another word for the noun
    distractors: int = 6  # at most, in a prompt
    stuff: float = 0.05  # of the captions without a colour ("wall"): how many are asked for

    def __post_init__(self) -> None:
        for name in ('single', 'absent', 'no_color', 'synonym', 'stuff'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f'{name} is {value}, expected a probability in [0, 1]')


@dataclass(frozen=True)
class Caption:
    """What a caption says: a colour, where it names one, and a noun."""

    color: str | None
    noun: str  # of the thesaurus, or any other ("wall")

    @classmethod
    def parse(cls, text: str) -> Caption:
        """Read "red chair" or "office chair"."""
        first, _, rest = text.partition(' ')
        color = _COLOR_OF_WORD.get(first)
        return cls(color, rest) if color and rest else cls(None, text)

    @property
    def kind(self) -> str:
        """What kind of thing the noun means: an office chair or "chair by a wall" is a chair."""
        return _kind(self.noun)

    def describes(self, other: Caption) -> bool:
        """Say whether everything that this one says is true of the other, as far as it tells."""
        if self.color not in (None, other.color) or self.kind != other.kind:
            return False
        if self.noun not in NOUN_OF_TEXT:
            return self.noun in (other.noun, other.kind)  # nothing else is known to be one
        own, theirs = _variants(self.noun), _variants(other.noun)
        return not own or (bool(theirs) and set(theirs) <= set(own))

    def may_be(self, other: Caption) -> bool:
        """Say whether both may be true of one thing, as far as colours and kinds tell."""
        colors = {self.color, other.color}
        return self.kind == other.kind and (len(colors) == 1 or None in colors)


@functools.cache
def _kind(noun: str) -> str:
    """Look up the longest end of a thing's name that means something here; else the name is it."""
    words = _name(noun.split())
    ends = (' '.join(words[first:]) for first in range(len(words)))
    return next((_KIND_OF[end] for end in ends if end in _KIND_OF), ' '.join(words))


def _name(words: list[str]) -> list[str]:
    """Leave out what is said behind a thing's name; a "pile of books by the door" is books."""
    cut = next((i for i in range(1, len(words)) if _begins_more(words, i)), None)
    if cut is None:
        return words
    name, behind = words[:cut], words[cut + 1 :]
    while len(name) > 1 and _is_between(name[-1]):
        name.pop()
    is_share = words[cut] == 'of' and name[-1].removesuffix('s') in _SHARES
    return _name(behind) if is_share and behind else name


def _begins_more(words: list[str], i: int) -> bool:
    around = ' '.join(words[i - 1 : i + 2])  # "chest of drawers"
    return words[i] in _BEHIND and around not in _KIND_OF


def _is_between(word: str) -> bool:
    return word in _BETWEEN or (word.endswith('ed') and word not in _KIND_OF)  # "bed" is none


def _variants(noun: str) -> tuple[str, ...]:
    return NOUN_OF_TEXT[noun].variants if noun in NOUN_OF_TEXT else ()


@dataclass(frozen=True)
class Query:
    """Texts that are encoded one by one and joined, and the phrases that they hold."""

    texts: list[str]
    phrases: list[tuple[int, int, int]]  # number of the text, and characters [begin, end) in it
    satisfied: list[NDArray[np.bool_]]  # per view: (masks, phrases)

    def tokens(self, language: LanguageEncoder) -> tuple[LanguageTokens, NDArray[np.bool_]]:
        """Encode the query; also returns which tokens (phrases, T) belong to each phrase."""
        # One by one: in a batch, padding changes the last digits, and a resumed run batches anew.
        parts = [language.encode(text) for text in self.texts]
        joined = LanguageTokens.join(parts)
        first = np.cumsum([0, *(len(part.spans) for part in parts)])
        belongs = np.zeros((len(self.phrases), len(joined.spans)), bool)
        for row, (text, begin, end) in enumerate(self.phrases):
            belongs[row, first[text] + phrase_tokens(parts[text].spans, (begin, end))] = True
        return joined, belongs


def make_query(
    captions: Sequence[Sequence[str]],  # per view, the caption of each mask
    in_crop: Sequence[str],  # those of the first view that the crop shows
    mix: QueryMix,
    max_instances: int,
    rng: np.random.Generator,
) -> Query:
    """Draw a query about what the crop shows in the first view."""
    parsed = [[Caption.parse(caption) for caption in view] for view in captions]
    shown = list(dict.fromkeys(Caption.parse(caption) for caption in in_crop))
    known = list(dict.fromkeys([*shown, *(caption for view in parsed for caption in view)]))
    askable = [caption for caption in shown if caption.color or rng.uniform() < mix.stuff]
    is_single = rng.uniform() < mix.single
    if is_single:
        is_absent = not askable or rng.uniform() < mix.absent
        asked = [
            _absent(shown, known, rng)
            if is_absent
            else _say(askable[rng.integers(len(askable))], mix, rng)
        ]
    else:
        count = min(len(askable), int(rng.integers(2, max_instances + 1)))
        picked = [askable[i] for i in rng.permutation(len(askable))[:count]]
        asked = [_say(caption, mix, rng) for caption in picked]
        asked += [_absent(shown, known, rng) for _ in range(rng.integers(mix.distractors + 1))]
        asked = [asked[i] for i in rng.permutation(len(asked))]
    asked = list(dict.fromkeys(asked)) or [_absent(shown, known, rng)]
    texts, phrases = [], []
    for caption in asked:
        phrase, first, wrapper = _words(caption, rng), '', '{}'
        if is_single:
            first = str(rng.choice(['', 'the ', 'the ', 'the ', f'{article(phrase)} ']))
            wrapper = str(rng.choice(WRAPPERS[0]))
        begin = wrapper.index('{}') + len(first)
        texts.append(wrapper.format(first + phrase))
        phrases.append((len(texts) - 1, begin, begin + len(phrase)))
    satisfied = [
        np.array([[a.describes(c) for a in asked] for c in view], bool).reshape(-1, len(asked))
        for view in parsed
    ]
    return Query(texts, phrases, satisfied)


def _say(caption: Caption, mix: QueryMix, rng: np.random.Generator) -> Caption:
    """Say a caption in other words: less specific, by a synonym, without its colour."""
    nouns = [noun.text for noun in NOUNS if noun.kind == caption.kind]
    nouns = [n for n in nouns if Caption(None, n).describes(caption)] or [caption.noun]
    noun = caption.kind if rng.uniform() >= mix.synonym else str(rng.choice(nouns))
    return Caption(None if rng.uniform() < mix.no_color else caption.color, noun)


def reworded(caption: str, probability: float, rng: np.random.Generator) -> str:
    """Say a caption in words of the same meaning, with a probability: "grey couch" for a sofa."""
    if rng.uniform() >= probability:
        return caption
    said = Caption.parse(caption)
    if said.noun not in NOUN_OF_TEXT:
        return caption
    same = [n.text for n in NOUNS if (n.kind, n.variants) == (said.kind, _variants(said.noun))]
    return _words(Caption(said.color, str(rng.choice(same))), rng)


def _absent(shown: list[Caption], known: list[Caption], rng: np.random.Generator) -> Caption:
    """Something near to what is shown: right noun and wrong colour, or the other way around.

    Nothing is made of captions without a colour ("wall"), but a coloured name of the thesaurus may
    come all the same ("red chair" beside "chair", as ScanNet calls it), true or not. What is
    returned describes nothing that is ``known`` to be there, in the thesaurus's words.
    """
    colored = [caption for caption in shown if caption.color]
    for _ in range(20):
        draw = rng.uniform()
        color, kind = str(rng.choice(COLORS)), str(rng.choice(KINDS_WITH_NOUNS))
        if colored and draw < 0.7:  # shapes are learnt later than colours: ask for them more
            near = colored[rng.integers(len(colored))]
            caption = Caption(color, near.kind) if draw < 0.25 else Caption(near.color, kind)
        elif draw < 0.9:
            caption = Caption(color if draw < 0.8 else None, kind)
        else:
            caption = Caption(color if draw < 0.95 else None, str(rng.choice(ABSENT_NOUNS)))
        if (caption.color, caption.kind) in HELD_OUT_PAIRS:
            continue  # no training room holds it: asked for, it would be taught never to occur
        if not any(caption.describes(other) for other in known):
            return caption
    return Caption(None, str(rng.choice(ABSENT_NOUNS)))


def _words(caption: Caption, rng: np.random.Generator) -> str:
    if caption.color is None:
        return caption.noun
    return f'{rng.choice(color_words(caption.color))} {caption.noun}'
