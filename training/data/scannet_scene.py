"""A ScanNet scene as it is released: the mesh's vertices, and the object of every vertex.

    scene0000_00/scene0000_00_vh_clean_2.ply                    vertices with colours, metres, z up
    scene0000_00/scene0000_00_vh_clean_2.0.010000.segs.json     "segIndices": segment per vertex
    scene0000_00/scene0000_00.aggregation.json                  "segGroups": objects of segments
    scene0000_00/scene0000_00.txt                               "axisAlignment = " 16 numbers

Vertices are brought into the axis-aligned frame, in which ScanRefer and Multi3DRefer take their
boxes; where the last file or its line is missing, they stay as they are. A segment belongs to the
first object that lists it: scene0217_00 lists all of its objects twice, under new numbers (public
code of PointGroup and of ReferIt3D's followers leaves out the second half as well). Sources:
github.com/ScanNet/ScanNet (MIT), README, "Data Formats", ``BenchmarkScripts/3d_helpers/
export_train_mesh_for_evaluation.py``, ``BenchmarkScripts/ScanNet200/preprocess_scannet200.py``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.geometry import FloatArray, rigid_transform, transform_points
from lift_gs_ros.json_file import read_json
from lift_gs_ros.mapping.ply import read_ply
from training.data.annotations.records import Record, object_id
from training.data.classes.scannet import BENCHMARKS

MESH, SEGMENTS, OBJECTS = '_vh_clean_2.ply', '_vh_clean_2.0.010000.segs.json', '.aggregation.json'
NO_OBJECT = -1
# Columns of the label map, scannetv2-labels.combined.tsv, with a benchmark's label ids.
LABEL_COLUMNS = {'scannet20': 'nyu40id', 'scannet200': 'id'}


@dataclass(frozen=True)
class ScannetScene:
    """Vertices of a scene, and what they belong to."""

    name: str
    positions: NDArray[np.float32]  # (V, 3) metres, axis-aligned, z up
    colors: NDArray[np.float32]  # (V, 3) in [0, 1]
    object_ids: NDArray[np.int32]  # (V,) ScanNet's objectId, NO_OBJECT where there is none
    labels: dict[int, str]  # raw category of each object


def is_scannet_scene(folder: Path) -> bool:
    """Say whether a folder holds a scene with ground truth."""
    return all((folder / f'{folder.name}{end}').is_file() for end in (MESH, SEGMENTS, OBJECTS))


def read_scannet_scene(folder: str | Path) -> ScannetScene:
    """Read a scene's folder.

    Raises FileNotFoundError with the files that are missing, ValueError where one is damaged or
    they do not belong together.
    """
    folder = Path(folder).resolve()
    name = folder.name
    missing = [end for end in (MESH, SEGMENTS, OBJECTS) if not (folder / f'{name}{end}').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{folder} has no {" and no ".join(name + end for end in missing)}: get them with '
            "ScanNet's download script (--type _vh_clean_2.ply, ...); test scenes have no objects"
        )
    cloud = read_ply(folder / f'{name}{MESH}')
    segments = _read_segments(folder / f'{name}{SEGMENTS}', len(cloud))
    ids, labels = _read_objects(folder / f'{name}{OBJECTS}', segments)
    aligned = transform_points(_axis_alignment(folder / f'{name}.txt'), cloud.positions)
    return ScannetScene(name, aligned.astype(np.float32), cloud.colors, ids, labels)


def _read_segments(path: Path, vertices: int) -> NDArray[np.int64]:
    indices = read_json(path, dict).get('segIndices')
    if not isinstance(indices, list) or len(indices) != vertices:
        found = f'{len(indices)} of them' if isinstance(indices, list) else 'none'
        raise ValueError(
            f'{path} has {found} in "segIndices", expected one for each of the {vertices} vertices '
            'of the mesh: are both files of the same release?'
        )
    try:
        return np.array(indices, np.int64)
    except (ValueError, TypeError) as error:
        raise ValueError(f'{path}, "segIndices" are not all numbers: it is damaged') from error


def _read_objects(
    path: Path, segments: NDArray[np.int64]
) -> tuple[NDArray[np.int32], dict[int, str]]:
    groups = read_json(path, dict).get('segGroups')
    if not isinstance(groups, list):
        raise ValueError(f'{path} has no list "segGroups", expected ScanNet\'s aggregation')
    known, inverse = np.unique(segments, return_inverse=True)
    of_segment = np.full(len(known), NO_OBJECT, np.int32)
    labels: dict[int, str] = {}
    for i, group in enumerate(groups):
        record = Record(group, f'{path}, group {i}')
        number = record.number('objectId')
        own = [object_id(n, f'{record.where}, a segment') for n in record.items('segments')]
        unknown = set(own) - set(known.tolist())
        if unknown:
            raise ValueError(
                f'{path}, object {number} has the segment {min(unknown)}, which no vertex has: do '
                'segments and objects belong together?'
            )
        places = np.searchsorted(known, own)
        of_segment[places[of_segment[places] == NO_OBJECT]] = number
        labels[number] = record.text('label')
    return of_segment[inverse], labels


def _axis_alignment(path: Path) -> FloatArray:
    lines = path.read_text().splitlines() if path.is_file() else []
    values = [line.partition('=')[2] for line in lines if line.startswith('axisAlignment')]
    if not values:
        return np.eye(4)
    try:
        return rigid_transform(np.array(values[0].split(), np.float64).reshape(4, 4))
    except ValueError as error:
        raise ValueError(f'{path}, axisAlignment is no rigid transform ({error})') from error


def read_label_map(path: str | Path, benchmark: str) -> dict[str, int]:
    """Read ``scannetv2-labels.combined.tsv``: a benchmark's label id of every raw category.

    ``benchmark`` is 'scannet20' or 'scannet200'; categories that are not in it have no label.
    Raises ValueError for another header.
    """
    column, classes = LABEL_COLUMNS[benchmark], BENCHMARKS[benchmark]
    with open(path, newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE)
        rows = list(reader)
    names = reader.fieldnames or ()
    if not {'raw_category', column} <= set(names):
        raise ValueError(
            f'{path} has the columns {list(names)[:8]}, expected raw_category and {column}: is it '
            'scannetv2-labels.combined.tsv?'
        )
    labels = {
        row['raw_category']: object_id(row[column], f'{path}, {row["raw_category"]}')
        for row in rows
    }
    return {category: label for category, label in labels.items() if label in classes}
