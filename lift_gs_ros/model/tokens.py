"""A sentence as the network reads it: word pieces with the characters that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SEPARATOR = '. '  # between texts that are asked at once


@dataclass(frozen=True)
class LanguageTokens:
    """A sentence as T tokens."""

    text: str
    embeddings: NDArray[np.float32]  # (T, D) centred
    spans: NDArray[np.int64]  # (T, 2) characters [begin, end) of each token in the text
    sentence: NDArray[np.float32]  # (D,) one vector for the whole text, centred
    truncated: bool = False  # the text has more tokens than the encoder takes

    def as_one_token(self) -> LanguageTokens:
        """Return the sentence's vector as the only token, the way a CLIP query is asked.

        LIFT-GS, section 3.1: an embedding is "either from a single word or a full sentence".
        """
        spans = np.array([[0, len(self.text)]], dtype=np.int64)
        return replace(self, embeddings=self.sentence[None], spans=spans)

    @classmethod
    def join(cls, parts: Sequence[LanguageTokens]) -> LanguageTokens:
        """Ask several texts at once; each keeps the tokens that it has alone.

        Spans refer to the joined text. This is how pseudo-queries become one Q (A.1). The first
        character of part i is at ``sum(len(text) + len(SEPARATOR))`` over the parts before it.
        """
        if not parts:
            raise ValueError('got no texts to join, expected at least one')
        begins = np.cumsum([0, *(len(part.text) + len(SEPARATOR) for part in parts[:-1])])
        return cls(
            text=SEPARATOR.join(part.text for part in parts),
            embeddings=np.concatenate([part.embeddings for part in parts]),
            spans=np.concatenate([part.spans + begin for part, begin in zip(parts, begins)]),
            sentence=np.mean([part.sentence for part in parts], axis=0, dtype=np.float32),
            truncated=any(part.truncated for part in parts),
        )
