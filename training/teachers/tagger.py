"""Which things an image shows, by CLIP: what a detector is then asked for ("tag, detect, segment").

In the place of RAM (Zhang et al. 2023) in Grounded SAM, which no library here holds, and which its
authors measured to tag better than CLIP does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.teachers.clip import ClipRegions, embed_nouns, load_clip


@dataclass(frozen=True)
class TaggerSettings:
    """How sure CLIP must be, and how many things it may name; not tuned on real images."""

    min_score: float = 0.05  # of a noun among all of the vocabulary's, in some part of the image
    max_tags: int = 20


class ClipTagger:
    """Nouns of a vocabulary that CLIP recognises in an image or in a part of it."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        vocabulary: list[str],
        settings: TaggerSettings | None = None,
        device: str = 'cpu',
    ) -> None:
        self._vocabulary, self._settings = vocabulary, settings or TaggerSettings()
        self._images = ClipRegions(model, 'crop', device=device)
        self._nouns = embed_nouns(model, tokenizer, vocabulary, device)
        self._scale = float(model.logit_scale.exp())

    @classmethod
    def load(cls, weights: str, vocabulary: list[str], device: str = 'cpu') -> ClipTagger:
        """Load the CLIP that ``training.teachers.clip`` embeds regions with."""
        import open_clip

        model, name = load_clip(weights)
        return cls(model, open_clip.get_tokenizer(name), vocabulary, device=device)

    def tags(self, image: NDArray[np.uint8]) -> list[str]:
        """Nouns that an image (H, W, 3) shows, the surest first; maybe none."""
        settings = self._settings
        parts = torch.from_numpy(self._images.embeddings(image, windows(*image.shape[:2])))
        scores = (self._scale * parts @ self._nouns.T).softmax(dim=1).amax(dim=0)
        best = scores.argsort(descending=True, stable=True)[: settings.max_tags]
        return [self._vocabulary[i] for i in best if scores[i] >= settings.min_score]


def windows(height: int, width: int) -> NDArray[np.bool_]:
    """Masks (N, H, W): the whole image, and overlapping squares of half its shorter edge.

    CLIP says what an image is about, so a mug on a table is only found where it is large.
    """
    side = math.ceil(min(height, width) / 2)
    tops, lefts = (
        np.linspace(0, edge - side, math.ceil(edge / side)).round().astype(int)
        for edge in (height, width)
    )
    masks = np.zeros((1 + len(tops) * len(lefts), height, width), bool)
    masks[0] = True
    for mask, (top, left) in zip(masks[1:], ((t, x) for t in tops for x in lefts), strict=True):
        mask[top : top + side, left : left + side] = True
    return masks
