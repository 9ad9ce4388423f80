"""Locate 3D Dataset, L3DD (Arnaud, McVay et al. 2025): 131,641 expressions with their phrases.

A JSON list as ScanEnts3D's, with ``scene_dataset`` (ScanNet, ScanNet++, ARKitScenes). Object ids
are those of the scene's own segmentation; in ARKitScenes they only number ``gt_boxes``, (N, 3, 2)
lowest and highest coordinate of each axis in metres, in the scene's frame. ``description`` is the
tokens joined by blanks. ``object_name`` is what the target was called; in ScanNet's part it is the
label of its entity up to the first underscore ("trash" of "48_trash_can", 1155 of the 4470 entries
of ``val_scannet.json``), so there the whole label is read. Source:
github.com/facebookresearch/locate-3d, ``locate3d_data/README.md`` (CC BY-NC 4.0: read, not copied).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lift_gs_ros.geometry import Box
from training.data.annotations.annotation import Annotation
from training.data.annotations.records import Record, json_records
from training.data.annotations.spans import entity_sentence

KEYS = ('scene_id', 'object_id', 'object_name', 'token', 'entities', 'scene_dataset')


def read_locate3d(path: str | Path) -> list[Annotation]:
    """Read ``train.json``, ``val_scannet.json`` or their like."""
    return [_annotation(record) for record in json_records(path, 'Locate 3D', KEYS)]


def _annotation(record: Record) -> Annotation:
    annotation = Annotation(
        record.text('scene_id'),
        entity_sentence(record),
        (record.number('object_id'),),
        _target_name(record),
        record.where,
        _boxes(record) if 'gt_boxes' in record.fields else {},
    )
    if annotation.boxes:
        annotation.check_objects(set(annotation.boxes))
    return annotation


def _target_name(record: Record) -> str:
    if record.fields['scene_dataset'] == 'ScanNet':
        target = record.number('object_id')
        for name in (name for _, names in record.items('entities') for name in names):
            number, _, label = str(name).partition('_')
            if int(number) == target and label:
                return label.replace('_', ' ').strip()
    return record.text('object_name').strip()


def _boxes(record: Record) -> dict[int, Box]:
    try:
        corners = np.array(record.items('gt_boxes'), np.float64).reshape(-1, 3, 2)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f'{record.where}, gt_boxes are not (N, 3, 2) numbers: the file is damaged'
        ) from error
    if not np.isfinite(corners).all() or (corners[..., 0] > corners[..., 1]).any():
        raise ValueError(
            f'{record.where}, gt_boxes hold a box whose lowest corner is not below its highest'
        )
    return {i: Box.from_corners(box[:, 0], box[:, 1]) for i, box in enumerate(corners)}
