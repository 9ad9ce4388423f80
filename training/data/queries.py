"""Pseudo queries from what a captioning model said about 2D masks (LIFT-GS, A.4).

A caption is "red chair": a colour and a noun. Queries are made of the captions in view, in other
words too (a thesaurus knows that an armchair is a chair), joined as in the detection prompts of
MDETR and GLIP ("red chair. wooden table."), or one alone, as people ask. Distractors (right noun,
wrong colour) and absent things teach "no object". Nothing here knows of any 3D label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.model.language import LanguageEncoder, LanguageTokens
from lift_gs_ros.simulation.vocabulary import COLORS, KINDS

# What a thesaurus gives for the nouns of captions.
SYNONYMS: dict[str, tuple[str, ...]] = {
    'chair': ('seat',),
    'sofa': ('couch', 'settee'),
    'table': ('desk',),
    'cabinet': ('cupboard',),
    'wardrobe': ('closet',),
    'bookshelf': ('shelf', 'bookcase'),
    'bin': ('trash can', 'waste basket'),
    'mug': ('cup',),
    'picture': ('painting', 'poster'),
    'monitor': ('screen',),
    'rug': ('carpet',),
    'pillow': ('cushion',),
    'lamp': ('light',),
    'laptop': ('notebook',),
    'plant': ('potted plant',),
    'box': ('crate',),
}
KIND_OF_NOUN = {noun: kind for kind, nouns in SYNONYMS.items() for noun in nouns}

CARRIERS = ('{}', 'the {}', 'a {}', 'the {}', 'find the {}', 'where is the {}', 'go to the {}')


@dataclass(frozen=True)
class QueryMix:
    """How often each kind of query is drawn; the rest are prompts of several captions."""

    single: float = 0.4  # one caption, as people ask
    absent: float = 0.15  # of the single ones: something that no mask in view is
    no_color: float = 0.3  # of all phrases: the noun alone
    synonym: float = 0.35  # of all phrases: another word for the noun
    distractors: int = 3  # at most, in a prompt

    def __post_init__(self) -> None:
        for name in ('single', 'absent', 'no_color', 'synonym'):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f'{name} is {value}, expected a probability in [0, 1]')


@dataclass(frozen=True)
class Caption:
    """What a caption says, None where it does not say it."""

    color: str | None
    kind: str | None

    @classmethod
    def parse(cls, text: str) -> Caption:
        """Read "red chair" or "chair" in any words of the thesaurus."""
        first, _, rest = text.partition(' ')
        color = first if first in COLORS else None
        noun = rest if color else text
        return cls(color, KIND_OF_NOUN.get(noun, noun))

    def describes(self, other: Caption) -> bool:
        """Say whether everything that this one says is true of the other."""
        return self.color in (None, other.color) and self.kind in (None, other.kind)


@dataclass(frozen=True)
class Query:
    """Texts that are encoded one by one and joined, and the phrase that each of them holds."""

    texts: list[str]
    phrases: list[tuple[int, int]]  # characters [begin, end) of the phrase in its own text
    satisfied: list[NDArray[np.bool_]]  # per view: (masks, phrases)

    def tokens(self, language: LanguageEncoder) -> tuple[LanguageTokens, NDArray[np.bool_]]:
        """Encode the query; also returns which tokens (phrases, T) belong to each phrase."""
        parts = language.encode_batch(self.texts)
        joined = LanguageTokens.join(parts)
        belongs = np.zeros((len(parts), len(joined.spans)), bool)
        first = 0
        for row, (part, (begin, end)) in enumerate(zip(parts, self.phrases)):
            inside = (part.spans[:, 0] < end) & (part.spans[:, 1] > begin)
            belongs[row, first : first + len(inside)] = inside
            first += len(inside)
        return joined, belongs


def make_query(
    captions: Sequence[Sequence[str]],  # per view, the caption of each mask
    mix: QueryMix,
    max_instances: int,
    rng: np.random.Generator,
) -> Query:
    """Draw a query about what the first view shows."""
    parsed = [[Caption.parse(caption) for caption in view] for view in captions]
    shown = list(dict.fromkeys(parsed[0]))
    is_single = rng.uniform() < mix.single
    if is_single:
        is_absent = not shown or rng.uniform() < mix.absent
        asked = [_absent(shown, rng) if is_absent else _pick(shown, mix, rng)]
    else:
        count = min(len(shown), int(rng.integers(2, max_instances + 1)))
        picked = [shown[i] for i in rng.permutation(len(shown))[:count]]
        asked = [_blur(caption, mix, rng) for caption in picked]
        asked += [_absent(shown, rng) for _ in range(rng.integers(mix.distractors + 1))]
    asked = [asked[i] for i in rng.permutation(len(asked))]
    asked = list(dict.fromkeys(asked)) or [_absent(shown, rng)]
    texts, phrases = [], []
    for caption in asked:
        carrier = str(rng.choice(CARRIERS)) if is_single else '{}'
        phrase = _words(caption, mix, rng)
        begin = carrier.index('{')
        texts.append(carrier.format(phrase))
        phrases.append((begin, begin + len(phrase)))
    satisfied = [
        np.array([[a.describes(c) for a in asked] for c in view], bool).reshape(-1, len(asked))
        for view in parsed
    ]
    return Query(texts, phrases, satisfied)


def _pick(shown: list[Caption], mix: QueryMix, rng: np.random.Generator) -> Caption:
    return _blur(shown[rng.integers(len(shown))], mix, rng)


def _blur(caption: Caption, mix: QueryMix, rng: np.random.Generator) -> Caption:
    return Caption(None, caption.kind) if rng.uniform() < mix.no_color else caption


def _absent(shown: list[Caption], rng: np.random.Generator) -> Caption:
    """Something near to what is shown: right noun and wrong colour, or the other way around.

    Captions without a colour ("wall") are left alone: any colour may be true of them.
    """
    colors, kinds = list(COLORS), list(KINDS)
    for _ in range(20):
        colored = [caption for caption in shown if caption.color]
        if colored and rng.uniform() < 0.7:
            near = colored[rng.integers(len(colored))]
            caption = (
                Caption(str(rng.choice(colors)), near.kind)
                if rng.uniform() < 0.6
                else Caption(near.color, str(rng.choice(kinds)))
            )
        else:
            color = str(rng.choice(colors)) if rng.uniform() < 0.7 else None
            caption = Caption(color, str(rng.choice(kinds)))
        if not any(caption.describes(other) for other in shown):
            return caption
    return caption


def _words(caption: Caption, mix: QueryMix, rng: np.random.Generator) -> str:
    noun = caption.kind or 'object'
    if caption.kind in SYNONYMS and rng.uniform() < mix.synonym:
        noun = str(rng.choice(SYNONYMS[caption.kind]))
    return f'{caption.color} {noun}' if caption.color else noun
