"""Captions of regions by a vision-language model, with the paper's red box (LIFT-GS, A.4)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.teachers.labels import bounding_box
from training.teachers.local import from_local

# Word for word as in A.4.
PROMPT = (
    'You are a helpful assistant for image captioning. You are given an image with a red bounding '
    'box specifying the object of interest. Caption that object in a few words, keeping it precise '
    'and concise. The object is also slightly highlighted. Examples output: "a red traffic light," '
    '"the box near the wall." Just output the caption; no other text is needed.'
)
HIGHLIGHT = 0.25  # how much of the mask's pixels is red
WHAT = 'vision-language model', 'HuggingFaceTB/SmolVLM2-2.2B-Instruct'  # and an example
MAX_WORDS = 12  # a longer answer is none: the model explains instead of naming
_ARTICLE = re.compile(r'^(?:an?|the)\s+', re.IGNORECASE)


class VlmCaptions:
    """Asks any image-text-to-text model of transformers about one region after the other."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        batch_size: int = 8,
        max_tokens: int = 32,
        device: str = 'cpu',
    ) -> None:
        self._model = model.eval().requires_grad_(False).to(device)
        self._processor = processor
        self._processor.tokenizer.padding_side = 'left'  # answers of a batch begin together
        self._batch_size, self._max_tokens, self._device = batch_size, max_tokens, device

    @classmethod
    def load(cls, weights: str, device: str = 'cpu') -> VlmCaptions:
        """Load a model with a chat template, from a folder or the user's cache."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        def load_model(name: str, **options: Any) -> Any:
            dtype = torch.float32 if device == 'cpu' else torch.bfloat16
            return AutoModelForImageTextToText.from_pretrained(name, dtype=dtype, **options)

        processor = from_local(AutoProcessor.from_pretrained, weights, *WHAT)
        if getattr(processor, 'chat_template', None) is None:
            raise ValueError(f'{weights!r} has no chat template: take an instruction-tuned model')
        return cls(from_local(load_model, weights, *WHAT), processor, device=device)

    def captions(self, image: NDArray[np.uint8], masks: NDArray[np.bool_]) -> list[str]:
        """Describe each mask (N, H, W), none of which is empty; '' where the answer is none."""
        found: list[str] = []
        for begin in range(0, len(masks), self._batch_size):
            batch = masks[begin : begin + self._batch_size]
            found += self._ask([highlight(image, mask) for mask in batch])
        return [clean(caption) for caption in found]

    @torch.inference_mode()
    def _ask(self, images: list[Image.Image]) -> list[str]:
        chats = [
            [
                {
                    'role': 'user',
                    'content': [{'type': 'image', 'image': i}, {'type': 'text', 'text': PROMPT}],
                }
            ]
            for i in images
        ]
        inputs = self._processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors='pt',
            processor_kwargs={'padding': True},
        ).to(self._device, dtype=self._model.dtype)
        tokens = self._model.generate(
            **inputs, max_new_tokens=self._max_tokens, do_sample=False, num_beams=1
        )
        answers = tokens[:, inputs['input_ids'].shape[1] :]
        return self._processor.batch_decode(answers, skip_special_tokens=True)


def highlight(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Image.Image:
    """Blend a mask (H, W) with red and draw a red box around it, as in figure 8."""
    blended = image.astype(np.float32)
    blended[mask] = (1 - HIGHLIGHT) * blended[mask] + HIGHLIGHT * np.array([255, 0, 0])
    picture = Image.fromarray(np.round(blended).astype(np.uint8))
    left, top, right, bottom = bounding_box(mask)
    width = max(1, round(image.shape[1] / 200))
    box = (max(left - width, 0), max(top - width, 0), right + width - 1, bottom + width - 1)
    ImageDraw.Draw(picture).rectangle(box, outline=(255, 0, 0), width=width)
    return picture


def clean(answer: str) -> str:
    """Bring an answer to the form of a caption: 'A red chair.' becomes 'red chair'."""
    line = next((line for line in answer.strip().splitlines() if line.strip()), '')
    caption = _ARTICLE.sub('', line.strip(' \t"\'“”‘’.,;:!*')).strip().lower()
    return caption if len(caption.split()) <= MAX_WORDS else ''
