"""CLIP image embeddings of regions, by open_clip: the paper's index2semantics (LIFT-GS, 3.3)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from lift_gs_ros.model.clip import MODEL_NAME
from training.teachers.labels import bounding_box
from training.teachers.local import from_local

CropKind = Literal['crop', 'masked_crop', 'both']
WHAT = 'CLIP', 'timm/vit_large_patch14_clip_224.openai'  # and an example
CONFIG, CHECKPOINTS = 'open_clip_config.json', ('.safetensors', '.bin', '.pth')
MARGIN = 0.1  # of the box's longer edge, on each side: what is around a thing says what it is


class ClipRegions:
    """One unit vector for each mask, of a square image around it.

    ``kind`` says what the square shows: ``'crop'`` all that is there, ``'masked_crop'`` the mask
    alone, before CLIP's mean colour; ``'both'`` is the mean of the two embeddings.
    """

    def __init__(
        self, model: Any, kind: CropKind = 'both', batch_size: int = 64, device: str = 'cpu'
    ) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        if kind not in ('crop', 'masked_crop', 'both'):
            raise ValueError(f"kind is {kind!r}, expected 'crop', 'masked_crop' or 'both'")
        self._model = model.eval().requires_grad_(False).to(device)
        self._kind, self._batch_size, self._device = kind, batch_size, device
        settings = PreprocessCfg(**model.visual.preprocess_cfg)
        self._preprocess = image_transform_v2(settings, is_train=False)
        self._mean = np.round(255 * np.array(settings.mean)).astype(np.uint8)
        self.dim = int(model.text_projection.shape[1])

    @classmethod
    def load(cls, weights: str, kind: CropKind = 'both', device: str = 'cpu') -> ClipRegions:
        """Load CLIP by ``load_clip``."""
        return cls(load_clip(weights)[0], kind, device=device)

    @torch.inference_mode()
    def embeddings(self, image: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Embed each mask (N, H, W), none of which is empty: unit vectors (N, F)."""
        if not len(masks):
            return np.zeros((0, self.dim), np.float32)
        total = torch.zeros(len(masks), self.dim)
        for masked in {'crop': [False], 'masked_crop': [True], 'both': [False, True]}[self._kind]:
            total += self._embed([self._square(image, mask, masked) for mask in masks])
        return nn.functional.normalize(total, dim=1).numpy()

    def _embed(self, squares: list[NDArray[np.uint8]]) -> torch.Tensor:
        parts = []
        for begin in range(0, len(squares), self._batch_size):
            batch = squares[begin : begin + self._batch_size]
            pixels = torch.stack([self._preprocess(Image.fromarray(square)) for square in batch])
            features = self._model.encode_image(pixels.to(self._device)).float()
            parts.append(nn.functional.normalize(features, dim=1).cpu())
        return torch.cat(parts)

    def _square(
        self, image: NDArray[np.uint8], mask: NDArray[np.bool_], masked: bool
    ) -> NDArray[np.uint8]:
        """Cut a square with the mask in its middle; what lies outside the image is mean colour."""
        left, top, right, bottom = bounding_box(mask)
        side = max(1, round((1 + 2 * MARGIN) * max(right - left, bottom - top)))
        left, top = (left + right - side) // 2, (top + bottom - side) // 2
        square = np.broadcast_to(self._mean, (side, side, 3)).copy()
        rows = slice(max(top, 0), min(top + side, image.shape[0]))
        columns = slice(max(left, 0), min(left + side, image.shape[1]))
        inside = square[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        shown = mask[rows, columns] if masked else np.ones(inside.shape[:2], bool)
        inside[shown] = image[rows, columns][shown]
        return square


def load_clip(weights: str) -> tuple[Any, str]:
    """Load CLIP from what ``find_clip`` finds: with its configuration, or ViT-L-14 from a file.

    Returns the model, and the name under which open_clip knows its tokenizer.
    """
    import open_clip

    path = find_clip(weights)
    if path.is_file():
        model = open_clip.create_model(MODEL_NAME, pretrained=None)
        open_clip.load_checkpoint(model, str(path), weights_only=True)
        return model, MODEL_NAME
    name = f'local-dir:{path}'
    return open_clip.create_model(name, require_pretrained=True), name


def find_clip(weights: str) -> Path:
    """Find CLIP's file, its folder, or a name in the Hugging Face cache: a file or a folder.

    Raises FileNotFoundError, with what to get and where to put it, where nothing usable is there.
    """
    from transformers.utils import cached_file

    path = Path(weights).expanduser()
    if path.is_file():
        return path
    folder = Path(from_local(partial(cached_file, filename=CONFIG), weights, *WHAT)).parent
    if not any(file.suffix in CHECKPOINTS for file in folder.iterdir()):
        raise FileNotFoundError(
            f'{folder} has {CONFIG} and no weights, expected open_clip_model.safetensors beside '
            f'it: run "hf download {WHAT[1]}" on a machine with network (nothing is downloaded '
            'here), or copy the file there'
        )
    return folder
