"""LERF-OVS labels (LangSplat; Qin et al. 2024): polygons of named things in images of LERF.

``label/<scene>/frame_00041.json`` beside its ``.jpg``: ``info`` with ``name`` (of the image),
``width``, ``height``; ``objects``, each with ``category``, ``bbox`` [x1, y1, x2, y2] and
``segmentation``, the corners [[x, y], ...] of one polygon, in pixels. A category that occurs
several times in an image is one mask in LangSplat's evaluation. Source:
github.com/minghanqin/LangSplat, ``eval/evaluate_iou_loc.py`` (Inria's non-commercial licence: read,
not copied); only its reading of the files could be looked at, not the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lift_gs_ros.json_file import read_json
from training.data.annotations.records import Record


@dataclass(frozen=True)
class LabelledImage:
    """What is to be found in an image."""

    name: str  # 'frame_00041.jpg'
    width: int  # pixels
    height: int
    polygons: dict[str, list[NDArray[np.float64]]]  # corners (N, 2), by category
    boxes: dict[str, NDArray[np.float64]]  # (K, 4) x1 y1 x2 y2, by category

    def mask(self, category: str) -> NDArray[np.bool_]:
        """Pixels (H, W) of all things of a category."""
        image = Image.new('1', (self.width, self.height))
        for polygon in self.polygons[category]:
            # As OpenCV's fillPoly, which LangSplat uses: whole pixels, the border belongs to it.
            corners = [tuple(corner) for corner in polygon.astype(int).tolist()]
            ImageDraw.Draw(image).polygon(corners, fill=1, outline=1)
        return np.array(image)


def read_lerf_ovs(folder: str | Path) -> list[LabelledImage]:
    """Read the labels of a scene.

    Raises FileNotFoundError where the folder has none, and ValueError for one that is damaged.
    """
    files = sorted(Path(folder).glob('frame_*.json'))
    if not files:
        raise FileNotFoundError(f'no frame_*.json in {folder}, expected lerf_ovs/label/<scene>')
    return [_read(file) for file in files]


def _read(path: Path) -> LabelledImage:
    content = read_json(path, dict)
    info, things = content.get('info'), content.get('objects')
    if not isinstance(info, dict) or not isinstance(things, list):
        raise ValueError(f'{path} has no "info" and "objects", expected a label of LERF-OVS')
    head = Record(info, f'{path}, info')
    polygons: dict[str, list[NDArray[np.float64]]] = {}
    boxes: dict[str, list[NDArray[np.float64]]] = {}
    width, height = head.number('width'), head.number('height')
    for i, thing in enumerate(things):
        record = Record(thing, f'{path}, object {i}')
        category = record.text('category')
        corners = _numbers(record, 'segmentation', (-1, 2))
        if len(corners) < 3:
            raise ValueError(f'{record.where} ({category}) has {len(corners)} corners, expected 3')
        polygons.setdefault(category, []).append(corners)
        boxes.setdefault(category, []).append(_numbers(record, 'bbox', (4,)))
    stacked = {category: np.stack(own) for category, own in boxes.items()}
    return LabelledImage(head.text('name'), width, height, polygons, stacked)


def _numbers(record: Record, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    values: Any = record.items(name)
    try:
        return np.array(values, np.float64).reshape(shape)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f'{record.where}, {name} is {str(values)[:80]}, expected pixels of shape {shape}'
        ) from error
