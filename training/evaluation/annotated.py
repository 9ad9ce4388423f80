"""Measure a checkpoint on labelled scenes of a data set, with its own sentences.

    python -m training.evaluation.annotated runs/scannet_val \
        --annotations scanrefer:ScanRefer_filtered_val.json --out scanrefer.json

Acc@0.25 and 0.5 (ScanRefer, also Nr3D and Sr3D) over the sentences with one target, F1@0.25 and
0.5 (Multi3DRefer) over all. Boxes go through the extreme corners of the map's points at 5 cm, those
of the truth too, where the benchmarks take the mesh's vertices.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lift_gs_ros.geometry import Box, PointCloud
from lift_gs_ros.grounding.grounder import Grounder
from training.data.annotations import READERS, Annotation, annotations_by_scene
from training.data.labelled import LabelledScene, load_scenes
from training.data.scannet_labels import FIRST
from training.evaluation.benchmark import ANSWER_SCORE, Answering, give_map
from training.evaluation.grounding import accuracy_at, best_iou, f1_at

THRESHOLDS = (0.25, 0.5)
NO_BOX = Box(np.zeros(3), np.zeros(3))  # of a target without a point: overlaps with nothing


class AnnotatedScores:
    """What the sentences came to: one IoU for each with one target, F1 for each."""

    def __init__(self) -> None:
        self.ious: list[float] = []
        self.f1: dict[tuple[str, float], list[float]] = defaultdict(list)
        self.without_points = 0  # sentences with a target of which the map has no point

    def add(self, answers: list[tuple[Box, float]], targets: list[Box]) -> None:
        """Score one sentence: boxes with scores, best first, and the boxes asked for."""
        if len(targets) == 1:
            self.ious.append(best_iou(answers[0][0] if answers else None, targets))
        group = {0: 'zero', 1: 'one'}.get(len(targets), 'several')
        answered = [box for box, score in answers if score >= ANSWER_SCORE]
        for threshold in THRESHOLDS:
            self.f1[group, threshold].append(f1_at(answered, targets, threshold))

    def summary(self) -> dict[str, float | int | None]:
        """Return the metrics in [0, 1], and the numbers of sentences; None where there are none."""
        result: dict[str, float | int | None] = {'n_without_points': self.without_points}
        for threshold in THRESHOLDS:
            percent = f'{100 * threshold:.0f}'
            result[f'acc{percent}'] = _rounded(accuracy_at(self.ious, threshold))
            groups = {name: v for (name, t), v in self.f1.items() if t == threshold}
            result[f'f1_{percent}'] = _mean([value for own in groups.values() for value in own])
            for name in ('zero', 'one', 'several'):
                result[f'f1_{percent}_{name}'] = _mean(groups.get(name, []))
                result[f'n_{name}'] = len(groups.get(name, []))
        return result


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def evaluate_annotations(
    grounder: Answering,
    scene: LabelledScene,
    annotations: Iterable[Annotation],
    scores: AnnotatedScores,
) -> None:
    """Give the grounder a scene's map and ask it the sentences; ``scores`` grows.

    A target of which the map has no point (it is smaller than a voxel, or the scene lists it again
    under another number, as scene0217_00 does all of its objects) is one that nobody finds. Raises
    ValueError for numbers beyond those of the scene.
    """
    give_map(grounder, PointCloud(scene.positions, scene.colors))
    boxes = {
        number - FIRST: Box.from_points(scene.positions[scene.instance_ids == number])
        for number in scene.captions
    }
    known = set(range(max(boxes, default=-1) + 1))
    for annotation in annotations:
        # Only what is asked for is scored; what is mentioned beside it may be anything.
        annotation.check_objects(known | (annotation.object_ids - set(annotation.targets)))
        scores.without_points += not set(annotation.targets) <= boxes.keys()
        answer = grounder.ground(annotation.sentence.text)
        answers = [(instance.box, instance.score) for instance in answer.targets]
        scores.add(answers, [boxes.get(number, NO_BOX) for number in annotation.targets])


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('scenes', type=Path, help='what training.data.scannet_labels has written')
    parser.add_argument(
        '--annotations', nargs='+', required=True, metavar='LAYOUT:PATH', help=', '.join(READERS)
    )
    parser.add_argument('--checkpoint', default='', help='default: the one that ships')
    parser.add_argument('--out', type=Path, default=Path('annotated.json'))
    options = parser.parse_args()
    of_scene = annotations_by_scene(options.annotations)
    scenes = [scene for scene in load_scenes(options.scenes) if scene.name in of_scene]
    names = [scene.name for scene in scenes]
    if not scenes:
        parser.error(f'no sentence is about a scene of {options.scenes}: is it the right split?')
    used, total = (sum(len(of_scene[name]) for name in own) for own in (names, of_scene))
    print(f'{len(scenes)} scenes; {used} of {total} sentences are about them')
    options.out.parent.mkdir(parents=True, exist_ok=True)  # now, not after hours of questions
    grounder, scores = Grounder.load(options.checkpoint), AnnotatedScores()
    for scene in tqdm(scenes, desc='scenes'):
        evaluate_annotations(grounder, scene, of_scene[scene.name], scores)
    result = scores.summary()
    options.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
