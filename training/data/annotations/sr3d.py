"""Sr3D (ReferIt3D; Achlioptas et al. 2020): spatial templates about ScanNet's objects.

A CSV file with ``scan_id``, ``target_id``, ``instance_type``, ``utterance``, ``anchor_ids`` and
``anchors_types`` (lists, as Python writes them) and more. Templates name target and anchors by
their class, so their phrases are found by it. Source: github.com/referit3d/referit3d (MIT),
``referit3d/data_generation/sr3d/create_sr3d.py``.
"""

from __future__ import annotations

from pathlib import Path

from training.data.annotations.annotation import Annotation
from training.data.annotations.nr3d import COLUMNS, is_in_benchmark
from training.data.annotations.records import Record, csv_records, object_id
from training.data.annotations.spans import named_sentence


def read_sr3d(path: str | Path) -> list[Annotation]:
    """Read ``sr3d.csv``, ``sr3d+.csv``, or a part of it."""
    records = csv_records(path, 'Sr3D', (*COLUMNS, 'anchor_ids', 'anchors_types'))
    return [_annotation(record) for record in records if is_in_benchmark(record)]


def _annotation(record: Record) -> Annotation:
    target, name = record.number('target_id'), record.text('instance_type')
    names = [str(kind) for kind in record.items('anchors_types')]
    ids = [object_id(i, f'{record.where}, anchor_ids') for i in record.items('anchor_ids')]
    if len(names) != len(ids):
        raise ValueError(f'{record.where} has anchors {names} with ids {ids}, expected as many')
    sentence = named_sentence(record.text('utterance'), [(name, target), *zip(names, ids)])
    return Annotation(record.text('scan_id'), sentence, (target,), name, record.where)
