"""ScanRefer (Chen, Chang and Niessner, 2020): 51,583 descriptions of objects in 800 ScanNet scenes.

A JSON list; each entry has ``scene_id``, ``object_id`` (digits; ScanNet's ``objectId``),
``object_name`` (ScanNet's label with underscores), ``ann_id``, ``description`` and ``token``.
Phrases are not marked; ScanEnts3D marks them.
Source: github.com/daveredrum/ScanRefer, README, "Data format".
"""

from __future__ import annotations

from pathlib import Path

from training.data.annotations.annotation import Annotation
from training.data.annotations.records import json_records
from training.data.labelled import Sentence

KEYS = ('scene_id', 'object_id', 'object_name', 'description')


def read_scanrefer(path: str | Path) -> list[Annotation]:
    """Read ``ScanRefer_filtered_train.json`` or its like."""
    return [
        Annotation(
            record.text('scene_id'),
            Sentence(record.text('description'), [], []),
            (record.number('object_id'),),
            record.text('object_name').replace('_', ' '),
            record.where,
        )
        for record in json_records(path, 'ScanRefer', KEYS)
    ]
