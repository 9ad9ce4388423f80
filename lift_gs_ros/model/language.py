"""From a sentence to tokens: embeddings with the characters that they come from.

Two encoders behind one class: ``minilm``, the embedded default, whose weights arrive with a pip
package, and ``open_clip``, the paper's CLIP ViT-L/14. Both are frozen.

Sentence encoders put the captions of a room close together, which leaves a contrastive loss and a
cosine little to work with (design, section 7). So the mean over a fixed list of phrases, computed
once at loading, is subtracted from every embedding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from lift_gs_ros.model.phrases import noun_phrases
from lift_gs_ros.model.tokens import SEPARATOR, LanguageTokens

CACHE_SIZE = 4096  # sentences; about 20 kB each
CACHE_TOKENS = 65_536  # of all of them together: 100 MB, also where every sentence is long

_KINDS = ('chair', 'table', 'sofa', 'bed', 'lamp', 'cupboard', 'door', 'window', 'plant', 'mug')
_COLORS = ('red', 'green', 'blue', 'yellow', 'black', 'white', 'brown', 'grey')
_CENTRING_PHRASES = (
    *(f'the {color} {kind}' for kind in _KINDS for color in _COLORS),
    *(f'the {a} next to the {b}' for a, b in zip(_KINDS, _KINDS[1:])),
    *_KINDS,
)


class LanguageBackbone(Protocol):
    """What an encoder must be able to do; see ``minilm.py`` and ``clip.py``."""

    dim: int

    def tokens(self, texts: list[str]) -> list[LanguageTokens]:
        """Encode texts that are not empty, without centring."""

    def to(self, device: torch.device | str) -> Any:
        """Move the parameters to a device."""


class LanguageEncoder:
    """Centres and caches what a backbone says. ``dim`` is D, the width of the embeddings."""

    def __init__(self, backbone: LanguageBackbone) -> None:
        self.dim = backbone.dim
        self._backbone = backbone
        self._cache: OrderedDict[str, LanguageTokens] = OrderedDict()
        self._cached_tokens = 0
        examples = backbone.tokens(list(_CENTRING_PHRASES))
        self._token_mean = np.concatenate([tokens.embeddings for tokens in examples]).mean(axis=0)
        self._sentence_mean = np.mean([tokens.sentence for tokens in examples], axis=0)

    def to(self, device: torch.device | str) -> LanguageEncoder:
        """Move the parameters to a device; results are numpy arrays all the same."""
        self._backbone.to(device)
        return self

    def encode(self, text: str) -> LanguageTokens:
        """Encode one text; a blank one has no tokens, a too long one says so in ``truncated``."""
        return self.encode_batch([text])[0]

    def encode_prompt(self, text: str) -> LanguageTokens:
        """Encode a prompt of several sentences ("chair. red table."), each one by itself.

        So a word means what it means alone, as in training (``LanguageTokens.join``).
        """
        return LanguageTokens.join(self.encode_batch(text.split(SEPARATOR)))

    def encode_batch(self, texts: Sequence[str]) -> list[LanguageTokens]:
        """Encode texts in one pass; those seen lately come from a cache."""
        known = {text: self._cache[text] for text in texts if text in self._cache}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        for tokens in self._compute(missing):
            known[tokens.text] = tokens
        for text in missing:
            self._cache[text] = known[text]
            self._cached_tokens += len(known[text].spans)
        for text in dict.fromkeys(texts):
            self._cache.move_to_end(text)
        while len(self._cache) > CACHE_SIZE or self._cached_tokens > CACHE_TOKENS:
            _, oldest = self._cache.popitem(last=False)
            self._cached_tokens -= len(oldest.spans)
        return [known[text] for text in texts]

    def _compute(self, texts: list[str]) -> list[LanguageTokens]:
        spoken = [text for text in texts if text.strip()]
        nothing = LanguageTokens(
            text='',
            embeddings=np.zeros((0, self.dim), np.float32),
            spans=np.zeros((0, 2), np.int64),
            sentence=np.zeros(self.dim, np.float32),
        )
        results = [replace(nothing, text=text) for text in texts if not text.strip()]
        for tokens in self._backbone.tokens(spoken) if spoken else []:
            results.append(
                replace(
                    tokens,
                    embeddings=tokens.embeddings - self._token_mean,
                    sentence=tokens.sentence - self._sentence_mean,
                )
            )
        return results


class PhraseVectors:
    """Lets a backbone say one vector for each noun phrase in the place of one for each word.

    A network that learned from one CLIP vector for each thing in an image (LIFT-GS, 3.3) is asked
    in the same way: CLIP puts texts into the space of images, single words of a text it does not.
    """

    def __init__(self, backbone: LanguageBackbone) -> None:
        self.dim, self._backbone = backbone.dim, backbone

    def to(self, device: torch.device | str) -> PhraseVectors:
        """Move the parameters to a device."""
        self._backbone.to(device)
        return self

    def tokens(self, texts: list[str]) -> list[LanguageTokens]:
        """Encode the noun phrases of texts; a text without any is one."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> LanguageTokens:
        spans = [(phrase.begin, phrase.end) for phrase in noun_phrases(text)] or [(0, len(text))]
        parts = self._backbone.tokens([text[begin:end] for begin, end in spans])
        vectors = np.stack([part.sentence for part in parts])
        return LanguageTokens(
            text,
            vectors,
            np.array(spans, np.int64),
            vectors.mean(axis=0),
            any(part.truncated for part in parts),
        )


def load_language_encoder(
    name: str = 'minilm', weights: str | Path = '', query_tokens: str = 'words'
) -> LanguageEncoder:
    """Load the encoder ``minilm`` or ``open_clip`` from local files, onto the CPU.

    ``weights`` is the file of CLIP's weights ('' = the place that the error message names);
    ``query_tokens`` is that of the network's config, ``'words'`` or ``'phrases'``.
    Raises ImportError or FileNotFoundError with what to install or to get; never downloads.
    """
    backbone: LanguageBackbone
    if name == 'minilm':
        from lift_gs_ros.model.minilm import MiniLM

        backbone = MiniLM.load()
    elif name == 'open_clip':
        from lift_gs_ros.model.clip import OpenClip

        backbone = OpenClip.load(weights)
    else:
        raise ValueError(f'language encoder is {name!r}, expected "minilm" or "open_clip"')
    return LanguageEncoder(PhraseVectors(backbone) if query_tokens == 'phrases' else backbone)
