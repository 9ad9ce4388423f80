"""What a teacher says about an image, and how its parts make one teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.data.labels import MIN_AREA_FRACTION
from training.data.posed_image import PosedImage
from training.data.pseudo_labels import NONE, PseudoLabels

MAX_MASKS = np.iinfo(np.int16).max


@dataclass(frozen=True)
class Regions:
    """Masks of one image, as a model found them."""

    masks: NDArray[np.bool_]  # (N, H, W), may overlap
    captions: list[str] | None = None  # of each mask, where the model names them


class MaskTeacher(Protocol):
    """Finds regions."""

    def regions(self, image: NDArray[np.uint8]) -> Regions:
        """Find the regions of an image (H, W, 3)."""


class Tagger(Protocol):
    """Says what to look for."""

    def tags(self, image: NDArray[np.uint8]) -> list[str]:
        """Nouns that an image (H, W, 3) shows; maybe none."""


class CaptionTeacher(Protocol):
    """Names regions."""

    def captions(self, image: NDArray[np.uint8], masks: NDArray[np.bool_]) -> list[str]:
        """Describe each mask (N, H, W) in a few words; '' where there is nothing to say."""


class EmbeddingTeacher(Protocol):
    """Embeds regions."""

    def embeddings(self, image: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Embed each mask (N, H, W): unit vectors (N, F)."""


class Teacher(Protocol):
    """Labels posed images."""

    def label(self, view: PosedImage) -> PseudoLabels:
        """Say what is in a posed image."""


@dataclass(frozen=True)
class RegionTeacher:
    """Finds regions, then names and embeds what is left of each in the index image."""

    masks: MaskTeacher
    captions: CaptionTeacher | None = None
    embeddings: EmbeddingTeacher | None = None

    def label(self, view: PosedImage) -> PseudoLabels:
        """Say what is in an image; its pose is not looked at."""
        image = view.image
        regions = self.masks.regions(image)
        if regions.masks.shape[1:] != image.shape[:2]:
            raise ValueError(
                f'masks have shape {regions.masks.shape}, expected (N, {image.shape[0]}, '
                f'{image.shape[1]}) as the image'
            )
        semantics, kept = index_image(regions.masks)
        captions = None
        if regions.captions is not None:
            captions = [regions.captions[i] for i in kept]
        if self.captions is not None:
            captions = self.captions.captions(image, masks_of(semantics, len(kept)))
        if captions is not None:
            semantics, captions = drop_unnamed(semantics, captions)
        embeddings = None
        if self.embeddings is not None:
            count = len(kept) if captions is None else len(captions)
            found = self.embeddings.embeddings(image, masks_of(semantics, count))
            embeddings = found.astype(np.float16)
        return PseudoLabels(semantics, captions, embeddings)


@dataclass(frozen=True)
class Embedded:
    """Embeds what another teacher finds and names."""

    teacher: Teacher
    embeddings: EmbeddingTeacher

    def label(self, view: PosedImage) -> PseudoLabels:
        """Say what is in a posed image."""
        found = self.teacher.label(view)
        masks = masks_of(found.semantics, len(found.captions or []))
        embeddings = self.embeddings.embeddings(view.image, masks)
        return replace(found, embeddings=embeddings.astype(np.float16))


def index_image(
    masks: NDArray[np.bool_], min_area: float = MIN_AREA_FRACTION
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Lay masks (N, H, W) over each other: larger ones first, so that parts lie on their wholes.

    Masks that are smaller than a share ``min_area`` of the image, whole or in what others leave of
    them, are left out (1024 pixels in the paper, A.1, here of 640x480). Returns the index image
    (H, W), -1 where there is none, and which mask (K,) each index was.
    """
    shape = masks.shape[1:]
    smallest = min_area * shape[0] * shape[1]
    areas = masks.sum(axis=(1, 2))
    order = [i for i in np.argsort(-areas, kind='stable') if areas[i] >= max(smallest, 1)]
    order = order[:MAX_MASKS]
    painted = np.full(shape, NONE, np.int32)
    for rank, mask in enumerate(order):
        painted[masks[mask]] = rank
    visible = np.bincount(painted[painted >= 0], minlength=len(order))
    kept = np.flatnonzero(visible >= max(smallest, 1))
    new_index = np.full(len(order) + 1, NONE, np.int16)  # the last one is that of NONE
    new_index[kept] = np.arange(len(kept))
    return new_index[painted], np.array(order, np.int64)[kept]


def masks_of(semantics: NDArray[np.int16], count: int) -> NDArray[np.bool_]:
    """Masks (count, H, W) of an index image (H, W)."""
    return semantics == np.arange(count)[:, None, None]


def drop_unnamed(
    semantics: NDArray[np.int16], captions: list[str]
) -> tuple[NDArray[np.int16], list[str]]:
    """Leave out the regions for which a teacher had no words."""
    new_index = np.full(len(captions) + 1, NONE, np.int16)
    named = [i for i, caption in enumerate(captions) if caption]
    new_index[named] = np.arange(len(named))
    return new_index[semantics], [captions[i] for i in named]


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (the last two exclusive) of a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
