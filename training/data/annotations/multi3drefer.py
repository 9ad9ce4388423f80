"""Multi3DRefer (Zhang, Gong and Chang, 2023): descriptions of no, one or several objects.

A JSON list as ScanRefer's, with ``object_ids`` (a list of ScanNet's ``objectId``; empty where the
scene holds no such thing) in place of ``object_id``, and ``eval_type`` (``zt...`` no target,
``st...`` one, ``mt`` several). Sources: github.com/3dlg-hcvc/M3DRef-CLIP (MIT),
``m3drefclip/data/dataset/multi3drefer.py``; the fields as
huggingface.co/datasets/3dlg-hcvc/Multi3DRefer describes them.
"""

from __future__ import annotations

from pathlib import Path

from training.data.annotations.annotation import Annotation
from training.data.annotations.records import Record, json_records, object_id
from training.data.labelled import Sentence

KEYS = ('scene_id', 'object_ids', 'object_name', 'description')


def read_multi3drefer(path: str | Path) -> list[Annotation]:
    """Read ``multi3drefer_train.json`` or its like."""
    return [
        Annotation(
            record.text('scene_id'),
            Sentence(record.text('description'), [], []),
            _targets(record),
            record.text('object_name').replace('_', ' '),
            record.where,
        )
        for record in json_records(path, 'Multi3DRefer', KEYS)
    ]


def _targets(record: Record) -> tuple[int, ...]:
    """Each once: to the benchmark's code, too, an object named twice is one target."""
    ids = (object_id(i, f'{record.where}, object_ids') for i in record.items('object_ids'))
    return tuple(dict.fromkeys(ids))
