"""ScanEnts3D (Abdelreheem et al. 2022): which objects every phrase of ScanRefer and Nr3D means.

``ScanRefer_filtered_{train,val}_ScanEnts3D.json`` and ``ScanEnts3D_Nr3D.csv``: the entries of
ScanRefer and of Nr3D with ``entities``, a list of [numbers of tokens, ["48_shelf", ...]], the
number being ScanNet's ``objectId``; in the CSV file the list is written as Python writes it. The
data set's page, scanents3d.github.io, could not be looked at; the layout is what
github.com/facebookresearch/univlg (``data_preparation/refexp/make_splits.py`` and
``dataset_mapper_language.py``) reads, and github.com/facebookresearch/locate-3d, whose README says
that it mirrors it. As in UniVLG, entries without a ``scene_id`` are left out.
"""

from __future__ import annotations

from pathlib import Path

from training.data.annotations import nr3d, scanrefer
from training.data.annotations.annotation import Annotation
from training.data.annotations.records import csv_records, json_records
from training.data.annotations.spans import entity_sentence


def read_scanents3d(path: str | Path) -> list[Annotation]:
    """Read the JSON file of ScanRefer's sentences or the CSV file of Nr3D's."""
    if Path(path).suffix == '.csv':
        columns = (*nr3d.COLUMNS, 'tokens', 'entities')
        return [
            Annotation(
                record.text('scan_id'),
                entity_sentence(record),
                (record.number('target_id'),),
                record.text('instance_type'),
                record.where,
            )
            for record in csv_records(path, 'ScanEnts3D (Nr3D)', columns)
            if nr3d.is_in_benchmark(record)
        ]
    keys = (*scanrefer.KEYS, 'token', 'entities')
    return [
        Annotation(
            record.text('scene_id'),
            entity_sentence(record),
            (record.number('object_id'),),
            record.text('object_name').replace('_', ' '),
            record.where,
        )
        for record in json_records(path, 'ScanEnts3D (ScanRefer)', keys, only='scene_id')
    ]
