"""VLA-3D (Zhang et al. 2024): templates about objects of six data sets, ScanNet among them.

``<scene>_referential_statements.json``: ``scene_name``, and ``regions`` by id; a region is an
object from each statement to a list of what it refers to, with ``target_index``,
``target_class``, and ``anchors`` (``anchor_1``, ... with ``index`` and ``class``). Among a region's
statements stands ``"region"`` with its name, which is none (so in the sample scenes; the README
does not say so). Ids are those of ``<scene>_object_result.csv`` beside it, counted within the
scene. Templates name things by their class, so phrases are found by it; colour and size words
before it are not part of them. Source: github.com/HaochenZ11/VLA-3D (MIT), README and
``sample_data``. That ids of ScanNet scenes are ScanNet's ``objectId`` could not be confirmed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.data.annotations.annotation import Annotation
from training.data.annotations.records import Record, read_json
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
    content = read_json(path)
    missing = [key for key in ('scene_name', 'regions') if key not in content]
    if missing:
        raise ValueError(f'{path} has no {" and no ".join(missing)}, expected a VLA-3D file')
    scene = str(content['scene_name'])
    return [
        _annotation(scene, text, fields, f'{path}, region {region}, "{text}"')
        for region, statements in content['regions'].items()
        for text, references in statements.items()
        if text != REGION_NAME
        for fields in references
    ]


def _annotation(scene: str, text: str, fields: Any, where: str) -> Annotation:
    if not isinstance(fields, dict) or not set(KEYS) <= fields.keys():
        raise ValueError(f'{where} refers to {str(fields)[:80]}, expected {", ".join(KEYS)}')
    record = Record(fields, where)
    target, name = record.number('target_index'), record.text('target_class')
    anchors = [Record(anchor, f'{where}, {key}') for key, anchor in fields['anchors'].items()]
    names = [(anchor.text('class'), anchor.number('index')) for anchor in anchors]
    return Annotation(scene, named_sentence(text, [(name, target), *names]), (target,), name, where)
