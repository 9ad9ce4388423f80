"""ScanNet scenes and the sentences about them, as the labelled scenes that fine-tuning reads.

    python -m training.data.scannet_labels path/to/scans --split scannetv2_train.txt \
        --annotations scanents3d:ScanRefer_filtered_train_ScanEnts3D.json sr3d:sr3d.csv \
        --label-map scannetv2-labels.combined.tsv --out runs/scannet_train
    python -m training.finetune config/train/scannet.yaml

Vertices are averaged in voxels of 5 cm, a voxel's object being that of most of its vertices.
Objects are called by their class of ScanNet200 where they have one, by their raw category where
not. With ``--label-map``, the benchmark's ground truth is written to ``OUT/ground_truth`` too.
Scenes that are there already are kept, with the names that they were built with, and get the ground
truth that they lack: give another ``--out`` for other sentences or names. These are clouds of the
mesh; LIFT-GS's referring results (its table 2) are on clouds of the sensor.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.annotations import READERS, Annotation, annotations_by_scene
from training.data.annotations.spans import target_span
from training.data.build import build_files
from training.data.classes.scannet import BENCHMARKS
from training.data.labelled import LabelledScene, Sentence, save_scene
from training.data.scannet_benchmark import ground_truth, write_ground_truth
from training.data.scannet_scene import (
    ScannetScene,
    is_scannet_scene,
    read_label_map,
    read_scannet_scene,
)

VOXEL_SIZE = 0.05  # metres
FIRST = 1  # the instance of object 0: instance 0 is none


def labelled_scene(
    scene: ScannetScene,
    annotations: Iterable[Annotation] = (),
    names: Mapping[str, str] | None = None,
) -> LabelledScene:
    """Bring a scene to the map's resolution and its sentences to its instances.

    ``names`` says what raw categories are called. An object is instance ``objectId + 1``. Raises
    ValueError where a sentence speaks of an object that the scene does not have.
    """
    names = names or {}
    positions, colors, ids = voxel_means(
        scene.positions, scene.colors, scene.object_ids + FIRST, VOXEL_SIZE
    )
    present = set(np.unique(ids).tolist())
    sentences = []
    for annotation in annotations:
        annotation.check_objects(set(scene.labels))
        sentences.append(instance_sentence(annotation))
    return LabelledScene(
        scene.name,
        positions,
        colors,
        ids,
        {
            number + FIRST: names.get(label, label)
            for number, label in scene.labels.items()
            if number + FIRST in present
        },
        sentences,
    )


def instance_sentence(annotation: Annotation) -> Sentence:
    """Speak of instances instead of objects; mark what is asked for where the data set does not."""
    sentence, targets = annotation.sentence, [i + FIRST for i in annotation.targets]
    instances = [[i + FIRST for i in own] for own in sentence.instances]
    phrases = list(sentence.phrases)
    if not any(set(targets) & set(own) for own in instances):
        span = target_span(sentence.text, annotation.target_name)
        if span in phrases:
            instances[phrases.index(span)] = targets
        else:
            phrases.append(span)
            instances.append(targets)
    return Sentence(sentence.text, phrases, instances)


def voxel_means(
    positions: NDArray[np.float32],  # (V, 3)
    colors: NDArray[np.float32],  # (V, 3)
    ids: NDArray[np.int32],  # (V,)
    size: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Return the mean position and colour of each voxel's points, and what most of them are.

    Voxels are centred on multiples of their size, as the map's are.
    """
    cells = np.floor(positions / size + 0.5).astype(np.int64)
    _, rows = np.unique(cells, axis=0, return_inverse=True)
    rows = rows.reshape(-1)
    count = np.bincount(rows)[:, None]
    means = [
        np.stack([np.bincount(rows, values[:, k]) for k in range(3)], axis=1) / count
        for values in (positions, colors)
    ]
    pairs, votes = np.unique(np.stack([rows, ids]), axis=1, return_counts=True)
    order = np.lexsort([votes, pairs[0]])
    last = np.append(np.diff(pairs[0][order]) > 0, True)
    return (
        means[0].astype(np.float32),
        means[1].astype(np.float32),
        pairs[1][order][last].astype(np.int32),
    )


def build_and_save(
    path: Path, folder: Path, annotations: list[Annotation], labels: dict[str, dict[str, int]]
) -> None:
    """Build one file of the cache, and the ground truth of each benchmark with label ids."""
    scene = read_scannet_scene(folder)
    for benchmark, own in labels.items():
        truth = truth_path(path, benchmark)
        truth.parent.mkdir(parents=True, exist_ok=True)
        write_ground_truth(truth, ground_truth(scene, own))
    classes = BENCHMARKS['scannet200']
    names = {category: classes[label] for category, label in labels.get('scannet200', {}).items()}
    save_scene(path, labelled_scene(scene, annotations, names))


def truth_path(path: Path, benchmark: str) -> Path:
    """Where the ground truth of a scene's file of the cache is."""
    return path.parent / 'ground_truth' / benchmark / f'{path.stem}.txt'


def build_truth(path: Path, folder: Path, labels: dict[str, int]) -> None:
    """Write the ground truth that a scene lacks which was built without label ids."""
    write_ground_truth(path, ground_truth(read_scannet_scene(folder), labels))


def scene_folders(scans: Path, split: Path | None) -> list[Path]:
    """List the scenes of a folder, or those of them that a split names, a name a line.

    Raises FileNotFoundError where there are none, or one that the split names is missing.
    """
    if split is not None:
        wanted = split.read_text().split()
        if not wanted:
            raise FileNotFoundError(f'{split} names no scene, expected names like scene0000_00')
        missing = [name for name in wanted if not (scans / name).is_dir()]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(wanted)} scenes that {split} names are not in '
                f'{scans}: {", ".join(missing[:3])}: get them, or shorten the list'
            )
        return [scans / name for name in wanted]
    found = sorted(path for path in scans.glob('*') if is_scannet_scene(path))
    if not found:
        raise FileNotFoundError(
            f'no ScanNet scenes in {scans}, expected folders like scene0000_00 with '
            'scene0000_00_vh_clean_2.ply, its .segs.json and .aggregation.json'
        )
    return found


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('scans', type=Path, help='folder of scene folders')
    parser.add_argument('--split', type=Path, help='file of scene names; default: all scenes')
    parser.add_argument(
        '--annotations', nargs='+', default=[], metavar='LAYOUT:PATH', help=', '.join(READERS)
    )
    parser.add_argument('--label-map', type=Path, help='scannetv2-labels.combined.tsv')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--workers', type=int, default=2)
    options = parser.parse_args()
    labels = {}
    if options.label_map:
        labels = {name: read_label_map(options.label_map, name) for name in BENCHMARKS}
    of_scene = annotations_by_scene(options.annotations)
    folders = scene_folders(options.scans, options.split)
    jobs = [
        (options.out / f'{folder.name}.npz', folder, of_scene.get(folder.name, []), labels)
        for folder in folders
    ]
    used, total = sum(len(job[2]) for job in jobs), sum(map(len, of_scene.values()))
    print(f'{len(jobs)} scenes; {used} of {total} sentences are about them')
    if total and not used:
        parser.error(f'no sentence is about a scene of {options.scans}: is it the right split?')
    build_files(build_and_save, jobs, options.workers)
    lacking = [
        (truth, folder, own)
        for path, folder, *_ in jobs
        for benchmark, own in labels.items()
        if not (truth := truth_path(path, benchmark)).exists()
    ]
    if lacking:
        print(
            f'{len({folder for _, folder, _ in lacking})} scenes were built without --label-map: '
            "they get their ground truth now, and keep their objects' raw categories as names"
        )
        build_files(build_truth, lacking, options.workers)


if __name__ == '__main__':
    main()
