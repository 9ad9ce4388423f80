"""Nr3D (ReferIt3D; Achlioptas et al. 2020): what people said to tell an object from its like.

A CSV file with ``scan_id``, ``target_id`` (ScanNet's ``objectId``), ``instance_type`` (its label),
``utterance``, ``tokens`` and more. ReferIt3D's benchmark takes only the sentences that name the
target's class and that a listener understood (``mentions_target_class`` and ``correct_guess`` are
True); so does this reader, where the columns are there. Phrases are not marked. Sources:
github.com/referit3d/referit3d (MIT), ``referit3d/in_out/neural_net_oriented.py``, and
referit3d.github.io/benchmarks.html, "Rules".
"""

from __future__ import annotations

from pathlib import Path

from training.data.annotations.annotation import Annotation
from training.data.annotations.records import Record, csv_records
from training.data.labelled import Sentence

COLUMNS = ('scan_id', 'target_id', 'instance_type', 'utterance')
BENCHMARK = ('mentions_target_class', 'correct_guess')


def read_nr3d(path: str | Path) -> list[Annotation]:
    """Read ``nr3d.csv``, or the part of it that the benchmark trains or tests on."""
    return [
        Annotation(
            record.text('scan_id'),
            Sentence(record.text('utterance'), [], []),
            (record.number('target_id'),),
            record.text('instance_type'),
            record.where,
        )
        for record in csv_records(path, 'Nr3D', COLUMNS)
        if is_in_benchmark(record)
    ]


def is_in_benchmark(record: Record) -> bool:
    """Say whether ReferIt3D's benchmark takes a sentence."""
    return all(str(record.fields.get(name, 'True')).lower() == 'true' for name in BENCHMARK)
