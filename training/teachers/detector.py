"""Open-vocabulary detectors with masks by SAM: "Grounded SAM", as in Mosaic3D (A.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from training.teachers.labels import Regions, Tagger
from training.teachers.local import from_local
from training.teachers.sam import SegmentAnything

WHAT = 'weights of a detector', 'IDEA-Research/grounding-dino-tiny'  # and an example


@dataclass(frozen=True)
class DetectorSettings:
    """Thresholds, with the values of Mosaic3D (A.3)."""

    min_score: float = 0.25
    min_text_score: float = 0.2  # of a word, for it to be in the caption (Grounding DINO)
    nms_iou: float = 0.5  # of two boxes of the same phrase, of which one goes
    max_area: float = 0.95  # of the image; larger boxes are the room, not a thing


class GroundedMasks:
    """Boxes of a vocabulary's nouns by Grounding DINO or OWLv2, masks of the boxes by SAM.

    With a tagger, an image is searched for what that sees in it, not for the whole vocabulary.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        sam: SegmentAnything,
        vocabulary: list[str],
        settings: DetectorSettings | None = None,
        device: str = 'cpu',
        tagger: Tagger | None = None,
    ) -> None:
        if not vocabulary:
            raise ValueError('the vocabulary is empty, expected nouns to look for')
        self._model = model.eval().requires_grad_(False).to(device)
        self._processor, self._sam, self._device = processor, sam, device
        self._vocabulary, self._tagger = vocabulary, tagger
        self._settings = settings or DetectorSettings()
        self._reads_prompt = 'dino' in model.config.model_type

    @classmethod
    def load(
        cls,
        weights: str,
        sam: SegmentAnything,
        vocabulary: list[str],
        device: str = 'cpu',
        tagger: Tagger | None = None,
    ) -> GroundedMasks:
        """Load a zero-shot detector that transformers knows, from a folder or the user's cache."""
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        model = from_local(AutoModelForZeroShotObjectDetection.from_pretrained, weights, *WHAT)
        processor = from_local(AutoProcessor.from_pretrained, weights, *WHAT)
        return cls(model, processor, sam, vocabulary, device=device, tagger=tagger)

    def regions(self, image: NDArray[np.uint8]) -> Regions:
        """Masks of what the vocabulary names, with the name as caption."""
        nouns = self._vocabulary if self._tagger is None else self._tagger.tags(image)
        boxes: list[list[float]] = []
        captions: list[str] = []
        for part in self._prompts(nouns):
            found, names = self._boxes(image, part)
            boxes, captions = boxes + found, captions + names
        return Regions(self._sam.masks_in(image, boxes), captions)

    def _prompts(self, nouns: list[str]) -> list[list[str]]:
        """Share nouns among prompts: of one, Grounding DINO reads 256 tokens and drops the rest."""
        if not self._reads_prompt:
            return [nouns] if nouns else []
        limit = self._model.config.max_text_len - 2  # [CLS] and [SEP] are two of them
        prompts: list[list[str]] = []
        length = 0
        for noun in nouns:
            tokens = len(self._processor.tokenizer.tokenize(f'{noun}.'))
            if not prompts or length + tokens > limit:
                prompts.append([])
                length = 0
            prompts[-1].append(noun)
            length += tokens
        return prompts

    @torch.inference_mode()
    def _boxes(
        self, image: NDArray[np.uint8], nouns: list[str]
    ) -> tuple[list[list[float]], list[str]]:
        settings, size = self._settings, image.shape[:2]
        text = [nouns]
        inputs = self._processor(images=image, text=text, return_tensors='pt').to(self._device)
        outputs = self._model(**inputs)
        thresholds: dict[str, Any] = {'threshold': settings.min_score}
        if self._reads_prompt:  # Grounding DINO's captions are words of its prompt
            thresholds['text_threshold'] = settings.min_text_score
        found = self._processor.post_process_grounded_object_detection(
            outputs, target_sizes=[size], text_labels=text, **thresholds
        )[0]
        captions = [nearest_noun(str(label), nouns) for label in found['text_labels']]
        boxes, scores = found['boxes'].float().cpu(), found['scores'].float().cpu()
        limit = torch.tensor([size[1], size[0], size[1], size[0]])
        boxes = boxes.clamp(min=0).minimum(limit)
        edges = boxes[:, 2:] - boxes[:, :2]
        area = edges.prod(dim=1) / (size[0] * size[1])
        sound = (edges >= 1).all(dim=1) & (area <= settings.max_area)
        sound &= torch.tensor([bool(caption) for caption in captions], dtype=torch.bool)
        rows = sound.nonzero()[:, 0]
        kinds = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
        groups = torch.tensor([kinds[captions[i]] for i in rows], dtype=torch.long)
        rows = rows[batched_nms(boxes[rows], scores[rows], groups, settings.nms_iou)]
        return boxes[rows].tolist(), [captions[i] for i in rows]


def nearest_noun(label: str, vocabulary: list[str]) -> str:
    """Return the noun of which a label has most words, the longer one of two; '' if it has none.

    Grounding DINO answers with words of its prompt: "box" for "red box", or "chair. red box".
    """
    words = set(re.findall(r'[a-z0-9]+', label.lower()))

    def overlap(noun: str) -> tuple[float, int]:
        own = re.findall(r'[a-z0-9]+', noun.lower())
        shared = len(words.intersection(own))
        return shared / max(len(own), 1), shared

    best = max(vocabulary, key=overlap)
    return best if overlap(best)[1] else ''
