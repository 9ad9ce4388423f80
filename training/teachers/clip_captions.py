"""Captions of regions by CLIP: the noun of a vocabulary that fits best, with its colour.

No sentences as a vision-language model writes them, but of a CLIP's size, and in the words that the
simulated teacher uses: "red chair", "wall".
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lift_gs_ros.model.lexicon import COLORS
from lift_gs_ros.model.naming import ROOM
from training.teachers.clip import ClipRegions, embed_nouns, load_clip

# Shares, not tuned on real images.
MIN_NOUN = 0.2  # of a noun among all of them; less, and it is none of them
MIN_COLOR = 0.5  # of a colour among all of them; less, and the noun stands alone


class ClipCaptions:
    """Names each region with a noun of the vocabulary, or with a part of a room.

    SAM masks walls and floors too; without words for them, they would be called pictures and rugs.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        vocabulary: list[str],
        min_noun: float = MIN_NOUN,
        min_color: float = MIN_COLOR,
        device: str = 'cpu',
    ) -> None:
        self._nouns = list(dict.fromkeys([*vocabulary, *sorted(ROOM)]))
        self._min_noun, self._min_color = min_noun, min_color
        self._images = ClipRegions(model, device=device)
        self._scale = float(model.logit_scale.exp())
        self._embed = functools.partial(embed_nouns, model, tokenizer, device=device)
        self._texts = self._embed(self._nouns)
        self._colored: dict[str, Tensor] = {}  # of the nouns that were needed so far

    @classmethod
    def load(cls, weights: str, vocabulary: list[str], device: str = 'cpu') -> ClipCaptions:
        """Load the CLIP that ``training.teachers.clip`` embeds regions with."""
        import open_clip

        model, name = load_clip(weights)
        return cls(model, open_clip.get_tokenizer(name), vocabulary, device=device)

    def captions(self, image: NDArray[np.uint8], masks: NDArray[np.bool_]) -> list[str]:
        """Name each mask (N, H, W), none of which is empty; '' where no noun fits."""
        regions = torch.from_numpy(self._images.embeddings(image, masks))
        return [self._name(region) for region in regions]

    def _name(self, region: Tensor) -> str:
        share, best = self._shares(region, self._texts).max(dim=0)
        if share < self._min_noun:
            return ''
        noun = self._nouns[int(best)]
        if noun in ROOM:
            return noun
        if noun not in self._colored:
            self._colored[noun] = self._embed([f'{color} {noun}' for color in COLORS])
        share, best = self._shares(region, self._colored[noun]).max(dim=0)
        return f'{COLORS[int(best)]} {noun}' if share >= self._min_color else noun

    def _shares(self, region: Tensor, texts: Tensor) -> Tensor:
        """How likely each of the texts (N, F) is to be the region's (F,), of these: (N,)."""
        return (self._scale * texts @ region).softmax(dim=0)
