"""Does a name fit what lies under a mask, and better than all the other names that it might have?

The decoder compares a proposal with the words of one sentence: asked for "the door", a wardrobe has
no other word to answer to. So the mean feature under a mask is also compared with everyday nouns,
in the space and at the temperature that the feature loss trains (LIFT-GS, equation 6); LERF's
relevancy does so with a few canonical phrases (Kerr et al. 2023). Nouns that mean the same as the
phrase ("cushion", "pillow") do not compete with it. A name with a colour in it also competes with
the same noun in other colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lexicon import COLORS, SAME_COLOR
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.phrases import bare_noun

# What is found indoors, and what a room is made of.
_NOUNS = """
    backpack bag ball basket bathtub bed bench bicycle bin blackboard blanket blinds book
    bookshelf bottle bowl box broom bucket cabinet candle carpet ceiling chair clock coat computer
    counter couch cup curtain cushion desk dishwasher door drawer dresser fan floor fridge guitar
    hat heater jacket keyboard lamp laptop machine microwave mirror monitor mouse mug nightstand
    oven pan paper person piano picture pillar pillow plant plate poster pot printer rack radiator
    railing refrigerator rug shelf shoe shower sink sofa stairs stool stove suitcase table telephone
    television toaster toilet towel toy tray vase wall wardrobe washer whiteboard window
"""
EVERYDAY_NOUNS = tuple(_NOUNS.split())
TEMPERATURE = 0.1  # of the feature loss
SAME_MEANING = 0.8  # cosine from which on a noun is another word for the phrase
EVEN = 0.03  # share of the softmax with which a name is as likely right as wrong
ROOM = frozenset({'wall', 'ceiling', 'floor', 'pillar', 'stairs', 'railing'})  # no things in it
LIKELY = 0.8  # probability from which on a place is taken to be what a noun names


class Naming:
    """Knows everyday nouns in the feature space of a model."""

    def __init__(self, model: LiftGS, language: LanguageEncoder) -> None:
        self._model, self._language = model, language
        self._nouns = self._features(EVERYDAY_NOUNS)

    @torch.inference_mode()
    def _features(self, texts: Sequence[str]) -> Tensor:
        return self._model.text_features(self._language.encode_batch(texts)).cpu()

    @torch.inference_mode()
    def probability(self, features: Tensor, phrase: str) -> Tensor:
        """Return how likely it is that each of the features (m, F) is what a phrase names: (m,)."""
        name = bare_noun(phrase)
        unit = torch.nn.functional.normalize(features.float().cpu(), dim=1)
        own, noun = self._features([name]), self._features([_without_color(name)])
        others = self._nouns[(self._nouns @ noun[0]) < SAME_MEANING]
        probability = _likely(unit, own, others)
        if recolored := _in_other_colors(name):
            probability = probability * _likely(unit, own, self._features(recolored))
        return probability

    @torch.inference_mode()
    def names_of(self, features: Tensor) -> list[str]:
        """Return the everyday nouns that some of the features (n, F) are likely to be.

        Likeliest first, of those that mean the same the likeliest; without the parts of a room.
        """
        unit = torch.nn.functional.normalize(features.float().cpu(), dim=1)
        alike = self._nouns @ self._nouns.T >= SAME_MEANING
        weights = ((unit @ self._nouns.T - 1) / TEMPERATURE).exp()  # of a softmax, as below
        share = weights / (weights + weights @ (~alike).float())
        best = (share / (share + EVEN)).amax(dim=0)
        chosen: list[int] = []
        for i in best.argsort(descending=True, stable=True).tolist():
            is_thing = EVERYDAY_NOUNS[i] not in ROOM and best[i] >= LIKELY
            if is_thing and not alike[i, chosen].any():
                chosen.append(i)
        return [EVERYDAY_NOUNS[i] for i in chosen]


def _likely(unit: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """Compare features (m, F) with a name (1, F) and with the names that compete with it."""
    share = (unit @ torch.cat([own, others]).T / TEMPERATURE).softmax(dim=1)[:, 0]
    return share / (share + EVEN)


def _color_at(words: Sequence[str]) -> int | None:
    """Find the colour among the words before the last one."""
    return next((i for i, word in enumerate(words[:-1]) if _color(word) in COLORS), None)


def _color(word: str) -> str:
    return SAME_COLOR.get(word.lower(), word.lower())


def _without_color(name: str) -> str:
    words = name.split()
    at = _color_at(words)
    return name if at is None else ' '.join([*words[:at], *words[at + 1 :]])


def _in_other_colors(name: str) -> list[str]:
    """Return "red chair" and so on for "blue chair"; nothing where the name has no colour."""
    words = name.split()
    at = _color_at(words)
    if at is None:
        return []
    others = [color for color in COLORS if color != _color(words[at])]
    return [' '.join([*words[:at], color, *words[at + 1 :]]) for color in others]
