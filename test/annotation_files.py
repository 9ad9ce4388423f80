"""Writers of annotation files, exactly as each data set lays them out, for the tests of readers."""

import csv
import json
from pathlib import Path

import numpy as np

# The sentences that the writers write: what a reader must come to.
CHAIR = {
    'scene': 'scene0000_00', 'text': 'the brown chair next to the coffee table . it is small',
    'target': 3, 'name': 'office chair',
    'entities': [(['brown', 'chair'], [3], 'chair'), (['coffee', 'table'], [7], 'coffee_table')],
}  # fmt: skip


def write_scanrefer(path: Path, **changes) -> Path:
    """ScanRefer's README, "Data format": numbers are digits, labels have underscores."""
    return _write_json(path, [_scanrefer_entry() | changes])


def _scanrefer_entry() -> dict:
    return {
        'scene_id': CHAIR['scene'],
        'object_id': str(CHAIR['target']),
        'object_name': CHAIR['name'].replace(' ', '_'),
        'ann_id': '0',
        'description': CHAIR['text'],
        'token': CHAIR['text'].split(),
    }


def write_multi3drefer(path: Path, **changes) -> Path:
    """Three entries: no target, one and several."""
    entries = [
        {
            'scene_id': CHAIR['scene'], 'object_ids': ids, 'object_name': 'office_chair',
            'ann_id': i, 'description': text, 'eval_type': kind, 'spatial': False,
        }
        for i, (ids, text, kind) in enumerate(
            [
                ([], 'a green chair on the bed', 'zt_w_d'),
                ([3], 'the brown chair', 'st_wo_d'),
                ([3, 5], 'these are chairs at the table', 'mt'),
            ]
        )
    ]  # fmt: skip
    entries[0] |= changes
    return _write_json(path, entries)


def write_nr3d(path: Path, **changes) -> Path:
    """Nr3D's columns; the second row was not understood, the third does not name its target."""
    row = {
        'assignmentid': '1',
        'stimulus_id': 'scene0000_00-office_chair-2-3-5',
        'utterance': CHAIR['text'],
        'correct_guess': 'True',
        'scan_id': CHAIR['scene'],
        'instance_type': CHAIR['name'],
        'target_id': str(CHAIR['target']),
        'tokens': str(CHAIR['text'].split()),
        'dataset': 'nr3d',
        'mentions_target_class': 'True',
    } | changes
    others = [row | {'correct_guess': 'False'}, row | {'mentions_target_class': 'False'}]
    return _write_csv(path, [row, *others])


def write_sr3d(path: Path, **changes) -> Path:
    """Sr3D's columns, as ``create_sr3d.py`` writes them, with tokens."""
    row = {
        'scan_id': 'scene0000_00',
        'target_id': '4',
        'distractor_ids': '[9]',
        'utterance': 'choose the table that is in the middle of the coffee table and the chair',
        'stimulus_id': 'scene0000_00-table-2-4-9',
        'coarse_reference_type': 'between',
        'reference_type': 'between',
        'instance_type': 'table',
        'anchors_types': "['coffee table', 'chair']",
        'anchor_ids': '[7, 3]',
        'tokens': "['choose', 'the', 'table']",
        'mentions_target_class': 'True',
    } | changes
    return _write_csv(path, [row])


def entities() -> list:
    """ScanEnts3D's pairs of token numbers and "id_label"."""
    tokens = CHAIR['text'].split()
    return [
        [[tokens.index(word) for word in words], [f'{i}_{label}' for i in ids]]
        for words, ids, label in CHAIR['entities']
    ]


def write_scanents3d_scanrefer(path: Path, **changes) -> Path:
    """ScanRefer's entries with entities, and one of those without a scene."""
    return _write_json(path, [_scanrefer_entry() | {'entities': entities()} | changes, {}])


def write_scanents3d_nr3d(path: Path, **changes) -> Path:
    """Nr3D's rows with entities, written as Python writes them."""
    return write_nr3d(path, entities=str(entities()), **changes)


def write_locate3d(path: Path, **changes) -> Path:
    """Locate 3D's README: an entry of ScanNet, and one of ARKitScenes with boxes."""
    scannet = {
        'object_id': 3, 'object_name': 'chair ', 'ann_id': 0, 'description': CHAIR['text'],
        'token': CHAIR['text'].split(), 'entities': entities(), 'primary_key': '110',
        'scene_id': CHAIR['scene'], 'scene_dataset': 'ScanNet',
    }  # fmt: skip
    arkit = scannet | {
        'object_id': 0, 'description': 'towel on the towel stand ', 'scene_id': '42898818',
        'token': ['towel', 'on', 'the', 'towel', 'stand', ''],
        'entities': [[[0, 3], ['0_object']], [[3, 4], ['1_object']]],
        'scene_dataset': 'ARKitScenes',
        'gt_boxes': [[[0, 1], [0, 2], [0, 3]], [[1, 2], [1, 2], [-1, 2]]],
    }  # fmt: skip
    return _write_json(path, [scannet, arkit | changes])


def write_vla3d(path: Path, **changes) -> Path:
    """VLA-3D's nesting: regions, statements, references; a region's name among its statements."""
    thing = {'target_colors': ['gray'], 'target_size': 0.6, 'distractor_ids': [], 'relation': 'x'}
    statements = {
        'the fireplace that is between both of the tables': [
            thing
            | {'target_index': '3', 'target_class': 'fireplace', 'anchors': _anchors(2, 4)}
            | changes
        ],
        'the table that is closest to the big table': [
            thing | {'target_index': '1', 'target_class': 'table', 'anchors': _anchors(2)}
        ],
        'region': 'living room',
    }
    content = {'scene_name': '47204840', 'regions': {'0': statements}}
    path = path / '47204840' / '47204840_referential_statements.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _anchors(*numbers: int) -> dict:
    return {
        f'anchor_{i + 1}': {'index': str(n), 'class': 'table', 'position': [0, 0, 0]}
        for i, n in enumerate(numbers)
    }


def write_lerf_ovs(folder: Path, **changes) -> Path:
    """A label of LERF-OVS beside its image, with two things of one category."""
    folder.mkdir(parents=True, exist_ok=True)
    thing = {'category': 'green apple', 'group': 1, 'note': ''}
    boxes = [[2, 1, 5, 4], [8, 3, 9, 8]]
    objects = [
        thing | {'bbox': [x1, y1, x2, y2], 'segmentation': [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]}
        for x1, y1, x2, y2 in boxes
    ]
    objects[0] |= changes
    info = {'name': 'frame_00041.jpg', 'width': 12, 'height': 10}
    return _write_json(folder / 'frame_00041.json', {'info': info, 'objects': objects}).parent


def _write_json(path: Path, content) -> Path:
    path.write_text(json.dumps(content, indent=2, default=lambda v: np.asarray(v).tolist()))
    return path


def _write_csv(path: Path, rows: list[dict]) -> Path:
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
