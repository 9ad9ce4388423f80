"""ScanNet's own text files of instances: the ground truth, and predictions for the server.

Ground truth, ``<scene>.txt``: a line per vertex of ``_vh_clean_2.ply`` with ``label * 1000 +
instance``, instances counted from 1; 0 where there is none. Predictions, ``<scene>.txt``: a line
per instance with the mask's path (relative, in a folder below, without blanks), the label id and
the confidence; a mask has a line per vertex, non-zero inside. Source: github.com/ScanNet/ScanNet
(MIT), ``BenchmarkScripts/3d_evaluation/evaluate_semantic_instance.py`` and ``util_3d.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.cache_files import whole_file
from training.data.classes.scannet import BENCHMARKS, STRUCTURE
from training.data.scannet_scene import ScannetScene
from training.evaluation.average_precision import SceneDetections
from training.evaluation.grounding import mask_iou

PER_LABEL = 1000
MIN_VERTICES = 100
MASKS = 'pred_mask'  # folder of the masks, as in ScanNet's own export


@dataclass(frozen=True)
class PredictedInstance:
    """An instance that a model found in a scene's mesh."""

    mask: NDArray[np.bool_]  # (V,)
    label: int  # id of the benchmark
    confidence: float


def ground_truth(scene: ScannetScene, labels: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the benchmark's number of each vertex (V,), given the label ids of raw categories."""
    numbers = np.zeros(max(scene.labels, default=0) + 2, np.int64)
    for number, category in scene.labels.items():
        if number + 1 >= PER_LABEL:
            raise ValueError(
                f'{scene.name} has the object {number}; the format has room for {PER_LABEL - 1}'
            )
        if category in labels:
            numbers[number] = labels[category] * PER_LABEL + number + 1
    return numbers[scene.object_ids]  # NO_OBJECT takes the last one, which is 0


def write_ground_truth(path: str | Path, numbers: NDArray[np.integer]) -> None:
    """Write ``label * 1000 + instance`` of every vertex (V,); the file appears when it is whole."""
    with whole_file(path) as temporary:
        np.savetxt(temporary, numbers, fmt='%d')


def read_ground_truth(path: str | Path, vertices: int | None = None) -> NDArray[np.int64]:
    """Read the numbers of a scene's vertices (V,).

    Raises ValueError where a line is no number, or there are not as many as ``vertices``.
    """
    return _read_numbers(Path(path), vertices)


def _read_numbers(path: Path, vertices: int | None) -> NDArray[np.int64]:
    lines = path.read_text().split()
    bad = next((i for i, line in enumerate(lines) if not line.isdecimal()), None)
    if bad is not None:
        raise ValueError(f'{path}, line {bad + 1} is "{lines[bad][:40]}", expected a number from 0')
    if vertices is not None and len(lines) != vertices:
        raise ValueError(
            f'{path} has {len(lines)} lines, expected one for each of the {vertices} vertices of '
            'the mesh: it is cut off or of another scene'
        )
    return np.array(lines, np.int64)


def write_predictions(
    folder: str | Path, scene: str, predictions: Sequence[PredictedInstance]
) -> Path:
    """Write a scene's predictions as the server takes them; returns the path of its list."""
    folder = Path(folder)
    (folder / MASKS).mkdir(parents=True, exist_ok=True)
    lines = []
    for i, predicted in enumerate(predictions):
        name = f'{MASKS}/{scene}_{i:03d}.txt'
        text = np.full((len(predicted.mask), 2), ord('\n'), np.uint8)
        text[:, 0] = ord('0') + predicted.mask
        (folder / name).write_bytes(text.tobytes())  # savetxt would take longer than the answers
        lines.append(f'{name} {predicted.label} {predicted.confidence:.6f}\n')
    path = folder / f'{scene}.txt'
    path.write_text(''.join(lines))
    return path


def read_predictions(path: str | Path, vertices: int | None = None) -> list[PredictedInstance]:
    """Read a scene's predictions and their masks.

    Raises ValueError where the server would refuse them, and FileNotFoundError without a mask.
    """
    path = Path(path)
    predictions = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split(' ')
        try:
            name, label, confidence = words[0], int(words[1]), float(words[2])
        except (IndexError, ValueError):
            name = ''
        if len(words) != 3 or not name:
            raise ValueError(
                f'{path}, line {number} is "{line[:80]}", expected "pred_mask/name.txt label_id '
                'confidence"'
            )
        mask = (path.parent / name).resolve()
        if Path(name).is_absolute() or not mask.is_relative_to(path.parent.resolve()):
            raise ValueError(
                f'{path}, line {number} names the mask {name}, expected a path below {path.parent}'
            )
        predictions.append(PredictedInstance(_read_numbers(mask, vertices) > 0, label, confidence))
    return predictions


def instance_classes(benchmark: str) -> dict[int, str]:
    """Return the classes that 'scannet20' or 'scannet200' evaluates as instances, by label id."""
    return {i: name for i, name in BENCHMARKS[benchmark].items() if name not in STRUCTURE}


def detections(
    truth: NDArray[np.integer],  # (V,) label * 1000 + instance
    predictions: Sequence[PredictedInstance],
    classes: Mapping[int, str],
) -> dict[str, SceneDetections]:
    """Compare a scene's predictions with its ground truth, per class, for ``scannet_ap``.

    As ScanNet's script does: predictions and instances of under 100 vertices are left out, and so
    is a wrong prediction that lies on such instances or on what has none of the classes.
    """
    sizes = dict(zip(*(values.tolist() for values in np.unique(truth, return_counts=True))))
    is_void = ~np.isin(truth // PER_LABEL, list(classes))
    found = {}
    for label, name in classes.items():
        own = [p for p in predictions if p.label == label and p.mask.sum() >= MIN_VERTICES]
        instances = [n for n in sizes if n % PER_LABEL and n // PER_LABEL == label]
        large = [n for n in instances if sizes[n] >= MIN_VERTICES]
        uncounted = is_void | np.isin(truth, [n for n in instances if n not in large])
        ious = [[mask_iou(predicted.mask, truth == n) for n in large] for predicted in own]
        found[name] = SceneDetections(
            np.array([predicted.confidence for predicted in own]),
            np.array(ious).reshape(len(own), len(large)),
            np.array([uncounted[predicted.mask].mean() for predicted in own]),
        )
    return found
