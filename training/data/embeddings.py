"""CLIP's image embeddings in the place of words: the paper's pseudo queries (LIFT-GS, 3.3, A.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.model.language import LanguageEncoder
from lift_gs_ros.model.tokens import LanguageTokens
from training.data.load import RoomFiles
from training.data.room_cache import CachedRoom

MEAN_OF = 4096  # embeddings: enough for their mean, and a few shards


@dataclass(frozen=True)
class EmbeddingQuery:
    """Embeddings of some masks, each of them one token, and so one "phrase"."""

    embeddings: NDArray[np.float32]  # (Q, D)
    satisfied: list[NDArray[np.bool_]]  # per view: (masks, Q), True for the mask that it is of

    @property
    def texts(self) -> list[str]:
        """Titles of the queries, for pictures."""
        return [f'embedding {number}' for number in range(len(self.embeddings))]

    def tokens(self, language: LanguageEncoder) -> tuple[LanguageTokens, NDArray[np.bool_]]:
        """Return Q tokens, and which of them belong to each phrase: (Q, Q). No words are read."""
        count, dim = self.embeddings.shape
        nowhere, nothing = np.zeros((count, 2), np.int64), np.zeros(dim, np.float32)
        return LanguageTokens('', self.embeddings, nowhere, nothing), np.eye(count, dtype=bool)


def make_embedding_query(
    embeddings: Sequence[NDArray[np.float32]],  # per view, (masks, D)
    in_crop: Sequence[NDArray[np.bool_]],  # per view (masks,) those that the crop shows
    max_instances: int,
    rng: np.random.Generator,
) -> EmbeddingQuery:
    """Draw masks that the crop shows, in any view, and ask for them by their embeddings.

    Not for all of them: the network would learn to draw what it is given (A.1).
    """
    masks = [(view, mask) for view, shown in enumerate(in_crop) for mask in np.flatnonzero(shown)]
    asked = [masks[i] for i in rng.permutation(len(masks))[:max_instances]]
    satisfied = [np.zeros((len(shown), len(asked)), bool) for shown in in_crop]
    for column, (view, mask) in enumerate(asked):
        satisfied[view][mask, column] = True
    rows = [embeddings[view][mask] for view, mask in asked]
    return EmbeddingQuery(np.array(rows, np.float32).reshape(-1, embeddings[0].shape[1]), satisfied)


def mean_embedding(files: RoomFiles) -> NDArray[np.float32]:
    """Mean (D,) of the first embeddings of a folder.

    CLIP puts all images into one narrow cone and all texts into another (Liang et al. 2022). The
    language encoder takes the texts' mean away from every text; without the same on this side, what
    was learned from images could not be asked for in words. Raises ValueError where there are none.
    """
    found: list[NDArray[np.float32]] = []
    for room in _readable(files):
        found += [view.embeddings.astype(np.float32) for view in room.views
                  if view.embeddings is not None]  # fmt: skip
        if sum(map(len, found)) >= MEAN_OF:
            break
    if not sum(map(len, found)):
        raise ValueError(
            f'{files.folder} holds no embeddings: label it with a teacher that gives some '
            '(--embeddings clip:...), or train with sample.queries=captions'
        )
    return np.concatenate(found).mean(axis=0, dtype=np.float32)


def _readable(files: RoomFiles) -> Iterator[CachedRoom]:
    for name in files.names:
        try:
            yield files.read(name)
        except (ValueError, OSError):
            continue  # it is counted when a sample asks for it


def centred(room: CachedRoom, mean: NDArray[np.float32]) -> CachedRoom:
    """Return a room whose embeddings have the mean (D,) taken away, as single precision.

    Raises ValueError where a view has masks without embeddings.
    """
    views = []
    for view in room.views:
        embeddings = view.embeddings
        if embeddings is None:
            raise ValueError(f'{room.name} has a view without embeddings, expected --embeddings')
        views.append(replace(view, embeddings=embeddings.astype(np.float32) - mean))
    return replace(room, views=views)


def captioned(room: CachedRoom) -> CachedRoom:
    """Return a room without embeddings. Raises ValueError where a mask has no caption."""
    for number, view in enumerate(room.views):
        if view.semantics.max(initial=-1) >= len(view.captions):
            raise ValueError(
                f'{room.name} has no captions in view {number}, which pretraining needs: label it '
                'with a teacher that gives some (--captions vlm:..., --masks detector:...), or '
                'train with sample.queries=embeddings'
            )
    return replace(room, views=[replace(view, embeddings=None) for view in room.views])
