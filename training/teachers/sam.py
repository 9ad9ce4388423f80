"""Segment Anything (Kirillov et al. 2023), SAM 2 (Ravi et al. 2024) and their kin, by transformers.

The size is that of the weights: ``facebook/sam-vit-huge`` is the paper's teacher. Small ones are
SlimSAM (a pruned SAM), SAM 2.1 tiny and EdgeTAM (SAM 2 with RepViT, for phones): ``SMALL``, and
MobileSAM, which is one file (``mobile_sam.py``). EdgeSAM and EfficientSAM are not in transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.teachers.labels import Regions
from training.teachers.local import check_local, from_local
from training.teachers.mobile_sam import load_mobile_sam, read_mobile_sam

WHAT = 'weights of SAM', 'facebook/sam2.1-hiera-tiny'  # and an example
SMALL = 'Zigeng/SlimSAM-uniform-77', 'facebook/sam2.1-hiera-tiny', 'yonigozlan/EdgeTAM-hf'


@dataclass(frozen=True)
class SamSettings:
    """How automatic mask generation samples and filters; the defaults are those of SAM."""

    points_per_side: int = 32
    points_per_batch: int = 64
    min_iou: float = 0.88  # that the model predicts of its own mask
    min_stability: float = 0.95  # IoU of the mask at two thresholds


class SegmentAnything:
    """Masks of everything, or of boxes."""

    def __init__(
        self, model: Any, processor: Any, settings: SamSettings | None = None, device: str = 'cpu'
    ) -> None:
        from transformers import pipeline

        self._settings = settings or SamSettings()
        self._device = device
        self._model = model.eval().requires_grad_(False).to(device)
        self._processor = processor
        self._generate = pipeline(
            'mask-generation',
            model=self._model,
            image_processor=processor.image_processor,
            device=torch.device(device),
        )

    @classmethod
    def load(
        cls, weights: str, device: str = 'cpu', settings: SamSettings | None = None
    ) -> SegmentAnything:
        """Load a SAM of any kind that transformers knows, from a folder or the user's cache.

        A file is MobileSAM's; ValueError where it is not.
        """
        from transformers import AutoModelForMaskGeneration, AutoProcessor

        cls.check(weights)
        if (file := Path(weights).expanduser()).is_file():
            return cls(*load_mobile_sam(file), settings, device)
        model = from_local(AutoModelForMaskGeneration.from_pretrained, weights, *WHAT)
        processor = from_local(AutoProcessor.from_pretrained, weights, *WHAT)
        return cls(model, processor, settings, device)

    @staticmethod
    def check(weights: str) -> None:
        """Raise FileNotFoundError where there is no SAM.

        Raises ValueError for a file that is not MobileSAM's: it is of a model that is not here, or
        holds more than tensors.
        """
        file = Path(weights).expanduser()
        if not file.is_file():
            check_local(weights, *WHAT)
            return
        try:
            read_mobile_sam(file)
        except ValueError as error:
            raise ValueError(
                f'{weights!r} is a file, expected a folder, or the mobile_sam.pt of MobileSAM: '
                f'{error}; checkpoints of SAM itself, EdgeSAM and others are not read, take one of '
                f'the small models {", ".join(SMALL)} ("hf download NAME" where there is network)'
            ) from error

    def regions(self, image: NDArray[np.uint8]) -> Regions:
        """Masks of everything, by a grid of points."""
        from PIL import Image

        settings = self._settings
        found = self._generate(
            Image.fromarray(image),
            points_per_crop=settings.points_per_side,
            points_per_batch=settings.points_per_batch,
            pred_iou_thresh=settings.min_iou,
            stability_score_thresh=settings.min_stability,
        )['masks']
        masks = [np.asarray(mask, bool) for mask in found]
        return Regions(np.stack(masks) if masks else np.zeros((0, *image.shape[:2]), bool))

    @torch.inference_mode()
    def masks_in(
        self, image: NDArray[np.uint8], boxes: Sequence[Sequence[float]]
    ) -> NDArray[np.bool_]:
        """Return the best mask (N, H, W) for each box (left, top, right, bottom) in pixels."""
        if not len(boxes):
            return np.zeros((0, *image.shape[:2]), bool)
        prompts = [[[float(x) for x in box] for box in boxes]]
        inputs = self._processor(images=image, input_boxes=prompts, return_tensors='pt')
        inputs = inputs.to(self._device)
        sizes, resized = inputs.pop('original_sizes'), inputs.pop('reshaped_input_sizes', None)
        outputs = self._model(**inputs, multimask_output=False)
        # SAM pads its input to a square, SAM 2 does not and takes no such size.
        padded = () if resized is None else (resized.cpu(),)
        masks = self._processor.post_process_masks(outputs.pred_masks.cpu(), sizes.cpu(), *padded)
        return masks[0][:, 0].numpy().astype(bool)
