"""Open-vocabulary instance segmentation on ScanNet: predictions for its server, and their AP.

    python -m training.evaluation.scannet_instances path/to/scans --split scannetv2_val.txt \
        --label-map scannetv2-labels.combined.tsv --benchmark scannet200 --out runs/scannet200_val

The names of the classes are the queries (LIFT-GS, section 4.2.1). ``OUT/predictions`` holds the
files that the server takes, ``OUT/scores.json`` AP, AP50 and AP25 on these scenes; for ScanNet200
those of head, common and tail classes too.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from tqdm import tqdm

from lift_gs_ros.geometry import PointCloud
from lift_gs_ros.grounding.grounder import Grounder
from lift_gs_ros.model.tokens import SEPARATOR
from training.data.classes.scannet import BENCHMARKS, SCANNET200_GROUPS
from training.data.scannet_benchmark import (
    PredictedInstance,
    detections,
    ground_truth,
    instance_classes,
    write_predictions,
)
from training.data.scannet_labels import VOXEL_SIZE, scene_folders, voxel_means
from training.data.scannet_scene import ScannetScene, read_label_map, read_scannet_scene
from training.evaluation.average_precision import SceneDetections, scannet_ap
from training.evaluation.benchmark import KINDS_PER_PROMPT, Answering, give_map


def predict_instances(
    grounder: Answering, scene: ScannetScene, classes: Mapping[int, str]
) -> list[PredictedInstance]:
    """Ask for all classes in a scene's map at 5 cm; a vertex is of the nearest map point's mask."""
    positions, colors, _ = voxel_means(scene.positions, scene.colors, scene.object_ids, VOXEL_SIZE)
    give_map(grounder, PointCloud(positions, colors))
    tree = cKDTree(positions)
    nearest = tree.query(scene.positions)[1]
    labels, predictions = list(classes), []
    for first in range(0, len(labels), KINDS_PER_PROMPT):
        asked = labels[first : first + KINDS_PER_PROMPT]
        names = [classes[label] for label in asked]
        ends = np.cumsum([len(name) + len(SEPARATOR) for name in names])
        for answer in grounder.ground(SEPARATOR.join(names)).instances:
            inside = np.zeros(len(positions), bool)
            inside[tree.query(answer.points)[1]] = True
            label = asked[int(np.searchsorted(ends, answer.span[0], 'right'))]
            predictions.append(PredictedInstance(inside[nearest], label, float(answer.score)))
    return predictions


def ap_of_groups(found: Mapping[str, list[SceneDetections]], benchmark: str) -> dict:
    """Mean AP over all classes, and over ScanNet200's groups of them; None where NaN."""
    groups = {'all': list(found)}
    if benchmark == 'scannet200':
        groups |= {name: list(own.values()) for name, own in SCANNET200_GROUPS.items()}
    scores = {
        group: scannet_ap({name: found[name] for name in names if name in found})
        for group, names in groups.items()
    }
    return {
        group: {name: None if np.isnan(ap) else round(ap, 4) for name, ap in own.items()}
        for group, own in scores.items()
    }


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('scans', type=Path, help='folder of scene folders')
    parser.add_argument('--split', type=Path, help='file of scene names; default: all scenes')
    parser.add_argument('--label-map', type=Path, required=True)
    parser.add_argument('--benchmark', choices=list(BENCHMARKS), default='scannet200')
    parser.add_argument('--checkpoint', default='', help='default: the one that ships')
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    labels = read_label_map(options.label_map, options.benchmark)
    classes = instance_classes(options.benchmark)
    grounder = Grounder.load(options.checkpoint)
    found: dict[str, list[SceneDetections]] = defaultdict(list)
    for folder in tqdm(scene_folders(options.scans, options.split), desc='scenes'):
        scene = read_scannet_scene(folder)
        predictions = predict_instances(grounder, scene, classes)
        write_predictions(options.out / 'predictions', scene.name, predictions)
        for name, own in detections(ground_truth(scene, labels), predictions, classes).items():
            found[name].append(own)
    result = ap_of_groups(found, options.benchmark)
    (options.out / 'scores.json').write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
