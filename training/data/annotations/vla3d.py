"""VLA-3D (Zhang et al. 2024): templates about objects of six data sets, ScanNet among them.

``<scene>_referential_statements.json``: ``scene_name``, and ``regions`` by id; a region is an
object from each statement to a list of what it refers to, with ``target_index``,
``target_class``, and ``anchors`` (``anchor_1``, ... with ``index`` and ``class``). Among a region's
statements stands ``"region"`` with its name, which is none (so in the sample scenes; the README
does not say so). Ids are those of ``<scene>_object_result.csv`` beside it, counted within the
scene. Templates name things by their class, so phrases are found by it; colour and size words
before it are not part of them. Ids of ScanNet scenes are ScanNet's ``objectId``, by its code: it
counts ReferIt3D's objects, which stand in the order of their ``objectId`` from 0 (ReferIt3D asserts
that). Source: github.com/HaochenZ11/VLA-3D (MIT), README, ``sample_data`` and
``3d_data_preprocess/scannet/scannet_preprocessing.py``.
"""

from __future__ import annotations

from pathlib import Path

from lift_gs_ros.json_file import read_json
from training.data.annotations.annotation import Annotation
from training.data.annotations.records import Record
from training.data.annotations.spans import named_sentence

REGION_NAME = 'region'
KEYS = ('target_index', 'target_class', 'anchors')


def read_vla3d(path: str | Path) -> list[Annotation]:
    """Read a scene's ``_referential_statements.json``, or those of all scenes under a folder."""
    if Path(path).is_dir():
        files = sorted(Path(path).rglob('*_referential_statements.json'))
        if not files:
            raise FileNotFoundError(f'no *_referential_statements.json in {path} or below it')
        return [annotation for file in files for annotation in _read(file)]
    return _read(Path(path))


def _read(path: Path) -> list[Annotation]:
    content = Record(read_json(path, dict), str(path))
    missing = [key for key in ('scene_name', 'regions') if key not in content.fields]
    if missing:
        raise ValueError(f'{path} has no {" and no ".join(missing)}, expected a VLA-3D file')
    found = []
    for region, statements in Record(content.fields['regions'], f'{path}, regions').fields.items():
        of_region = Record(statements, f'{path}, region {region}')
        for text in of_region.fields:
            if text != REGION_NAME:
                where = f'{of_region.where}, "{text}"'
                records = [Record(fields, where) for fields in of_region.items(text)]
                found += [_annotation(content.text('scene_name'), text, r) for r in records]
    return found


def _annotation(scene: str, text: str, record: Record) -> Annotation:
    missing = [key for key in KEYS if key not in record.fields]
    if missing:
        raise ValueError(f'{record.where} has no {" and no ".join(missing)}, as VLA-3D has')
    target, name = record.number('target_index'), record.text('target_class')
    where = f'{record.where}, anchors'
    anchors = [
        Record(anchor, f'{where}, {key}')
        for key, anchor in Record(record.fields['anchors'], where).fields.items()
    ]
    names = [(anchor.text('class'), anchor.number('index')) for anchor in anchors]
    sentence = named_sentence(text, [(name, target), *names])
    return Annotation(scene, sentence, (target,), name, record.where)
