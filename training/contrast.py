"""The feature loss: which of all captions, or embeddings, does a feature belong to (equation 6)?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.naming import EVERYDAY_NOUNS
from lift_gs_ros.simulation.vocabulary import HELD_OUT_PAIRS, KINDS
from training.data.queries import NOUN_OF_TEXT, Caption
from training.data.sample import ViewTarget
from training.losses.features import feature_loss, unique_captions

# Captions as a teacher gives them; those that a sample does not hold are its negatives. Pairs that
# no training room holds are left out: always negatives, they would be taught never to occur.
CAPTION_BANK = tuple(
    (Caption(color, kind), f'{color} {kind}')
    for kind, colors in KINDS.items()
    for color in colors
    if (color, kind) not in HELD_OUT_PAIRS
)

# Cosine of two nouns from which on a thing that is called the one may be called the other.
ALIKE = 0.35


class CaptionContrast:
    """Contrasts features with whole captions, and with nouns alone.

    Colours are learned long before shapes: in whole captions a shape is left to tell apart only
    what has the same colour, and no feature ever has to answer to a noun alone. With
    ``everyday_nouns``, nouns alone also compete with those of ``naming`` that no thing of a
    simulated room has, as they do on the robot.
    """

    def __init__(
        self,
        model: LiftGS,
        language: LanguageEncoder,
        temperature: float,
        noun_weight: float,
        everyday_nouns: bool = False,
    ) -> None:
        self._model, self._language = model, language
        self._temperature, self._noun_weight = temperature, noun_weight
        unknown = [noun for noun in EVERYDAY_NOUNS if noun not in NOUN_OF_TEXT]
        self._everyday = unknown if everyday_nouns else []

    @staticmethod
    def meanings(view: ViewTarget) -> tuple[list[str], NDArray[np.int64]]:
        """What the masks of a view mean, without duplicates, and the row of each mask's."""
        return unique_captions(view.captions)

    def __call__(
        self,
        features: Tensor,
        labels: NDArray[np.integer],
        captions: list[str],
        reword: Callable[[str], str] = str,
    ) -> Tensor:
        """Return the loss of features (n, F), each with the caption that its label (n,) counts.

        ``reword`` says a caption, or a noun, in other words of the same meaning.
        """
        features = functional.normalize(features, dim=1)
        unique, rows = unique_captions(captions)
        shown = {Caption.parse(caption) for caption in unique}
        others = [t for bank, t in CAPTION_BANK if not any(bank.may_be(seen) for seen in shown)]
        loss = self._contrast(features, rows[labels], unique + others, reword)
        if self._noun_weight:
            kinds, kind_rows = unique_captions([Caption.parse(text).kind for text in captions])
            others = [kind for kind in KINDS if kind not in kinds] + self._unlike(kinds)
            noun_loss = self._contrast(features, kind_rows[labels], kinds + others, reword)
            loss = loss + self._noun_weight * noun_loss
        return loss

    def _unlike(self, kinds: list[str]) -> list[str]:
        """Return the everyday nouns that nothing of some kinds may be called."""
        if not (self._everyday and kinds):
            return self._everyday
        own, theirs = self._directions(kinds), self._directions(self._everyday)
        best = (theirs @ own.T).max(axis=1)
        return [noun for noun, cosine in zip(self._everyday, best) if cosine < ALIKE]

    def _directions(self, texts: list[str]) -> NDArray[np.float32]:
        # One by one: a batch pads, which changes last digits, and what is encoded is cached.
        vectors = np.stack([self._language.encode(text).sentence for text in texts])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _contrast(
        self,
        features: Tensor,
        labels: NDArray[np.integer],
        candidates: list[str],
        reword: Callable[[str], str],
    ) -> Tensor:
        texts = self.text_features([reword(candidate) for candidate in candidates])
        rows = torch.from_numpy(labels).to(texts.device)
        return feature_loss(features, rows, texts, self._temperature)

    def text_features(self, captions: list[str]) -> Tensor:
        """Unit features (U, F) of captions: the mean of their tokens'."""
        return self._model.text_features([self._language.encode(caption) for caption in captions])


class EmbeddingContrast:
    """Contrasts features with the embeddings of the masks of a sample's views (A.1)."""

    def __init__(self, model: LiftGS, temperature: float) -> None:
        self._model, self._temperature = model, temperature

    @staticmethod
    def meanings(
        view: ViewTarget,
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
        """Return the embedding of each mask of a view, and its row among them: its own."""
        assert view.embeddings is not None
        return list(view.embeddings), np.arange(len(view.embeddings))

    def __call__(
        self, features: Tensor, labels: NDArray[np.integer], embeddings: list[NDArray[np.float32]]
    ) -> Tensor:
        """Return the loss of features (n, F), each with the embedding of its label (n,)."""
        if not len(labels):
            return features.sum() * 0.0
        candidates = torch.from_numpy(np.stack(embeddings)).to(self._model.device)
        texts = functional.normalize(self._model.text_to_feature(candidates), dim=1)
        rows = torch.from_numpy(labels).to(texts.device)
        return feature_loss(functional.normalize(features, dim=1), rows, texts, self._temperature)
