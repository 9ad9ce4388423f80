"""What a teacher says about an image: the paper's decomposition of pseudo labels (LIFT-GS, A.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NONE = -1  # index of pixels that belong to no mask


@dataclass(frozen=True)
class PseudoLabels:
    """An index image, and what each index means.

    Raises ValueError where they do not fit together.
    """

    semantics: NDArray[np.int16]  # (H, W) index of the mask, -1 where there is none
    captions: list[str] | None  # of each index
    embeddings: NDArray[np.float16] | None = None  # (N, F) index2semantics, unit vectors

    def __post_init__(self) -> None:
        indices = int(self.semantics.max(initial=NONE)) + 1
        for name in ('captions', 'embeddings'):
            values = getattr(self, name)
            if values is not None and len(values) < indices:
                raise ValueError(f'{len(values)} {name} for {indices} masks, expected one for each')
        if self.embeddings is not None and not np.isfinite(self.embeddings).all():
            raise ValueError('embeddings hold NaN or inf')
