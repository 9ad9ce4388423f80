"""Scenes with 3D labels for fine-tuning: instance masks, captions, and sentences about them.

    python -m training.data.labelled --split train --rooms 200 --out runs/labelled_train

Each scene is one npz file. The simulated rooms fill it here; a real dataset (ScanRefer on ScanNet,
say) fills the same fields.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift_gs_ros.simulation.expressions import Expression, make_expressions
from lift_gs_ros.simulation.rooms import SPLITS
from lift_gs_ros.simulation.words import nouns_of
from training.data.build import build_files
from training.data.cache_files import list_files, read_arrays, write_arrays
from training.data.rooms import STRUCTURE, structure_name, with_structure
from training.evaluation.rooms import evaluation_room

VERSION = 2  # 1: floor and walls of simulated rooms without a label
WHAT, MODULE = 'labelled scene', 'training.data.labelled'
OTHERWISE = ', those of ScanNet with python -m training.data.scannet_labels'
MODULES = f'{MODULE} (of ScanNet: training.data.scannet_labels)'
SENTENCES = ('attribute', 'relation', 'ordinal', 'several', 'none', 'noun', 'colour_noun')
PER_KIND = 12  # sentences of each kind about a room, as far as there are true ones
SIDED = ('left', 'right')  # words that a mirrored room makes false


@dataclass(frozen=True)
class Sentence:
    """A sentence with its noun phrases and the instances that they stand for."""

    text: str
    phrases: list[tuple[int, int]]  # characters [begin, end)
    instances: list[list[int]]  # of each phrase; empty where there is no such thing

    @classmethod
    def of(cls, expression: Expression) -> Sentence:
        """Take over an expression about a simulated room."""
        mentions = expression.mentions
        return cls(
            expression.text,
            [mention.span for mention in mentions],
            [[int(i) for i in mention.instance_ids] for mention in mentions],
        )

    @property
    def is_sided(self) -> bool:
        """Say whether the sentence tells left from right."""
        return any(word in self.text.lower() for word in SIDED)


@dataclass(frozen=True)
class LabelledScene:
    """A map with the instance of every point, and what people say about it."""

    name: str
    positions: NDArray[np.float32]  # (N, 3) metres
    colors: NDArray[np.float32]  # (N, 3) in [0, 1]
    instance_ids: NDArray[np.int32]  # (N,) > 0; 0 where a point belongs to nothing that is labelled
    captions: dict[int, str]  # of all things with a point: colour and noun, or a category alone
    sentences: list[Sentence]


def save_scene(path: str | Path, scene: LabelledScene) -> None:
    """Write a scene; the file appears under its name only when it is whole."""
    write_arrays(
        path,
        version=VERSION,
        positions=scene.positions,
        colors=np.round(scene.colors * 255).astype(np.uint8),
        instance_ids=scene.instance_ids,
        captions=json.dumps(scene.captions),
        sentences=json.dumps([asdict(sentence) for sentence in scene.sentences]),
    )


def load_scene(path: str | Path) -> LabelledScene:
    """Read a scene.

    Raises ValueError where the file is damaged or was written by another version.
    """
    path = Path(path)
    data = read_arrays(path, WHAT, {'instance_ids', 'captions', 'sentences'}, VERSION, MODULES)
    # A point that is no number is none; the network would refuse the whole scene for it.
    known = np.isfinite(data['positions']).all(axis=1)
    sentences = json.loads(str(data['sentences']))
    return LabelledScene(
        path.stem,
        data['positions'][known],
        data['colors'][known].astype(np.float32) / 255,
        data['instance_ids'][known],
        {int(number): text for number, text in json.loads(str(data['captions'])).items()},
        [
            Sentence(s['text'], [(begin, end) for begin, end in s['phrases']], s['instances'])
            for s in sentences
        ],
    )


def load_scenes(folder: str | Path, data_ratio: float = 1.0) -> list[LabelledScene]:
    """Read the first ``data_ratio`` of a folder's scenes, in the order of their names.

    Raises FileNotFoundError where there are none.
    """
    files = list_files(folder, WHAT, MODULE, OTHERWISE)
    count = max(1, round(data_ratio * len(files)))
    return [load_scene(path) for path in files[:count]]


def build_scene(seed: int, split: str) -> LabelledScene:
    """Simulate and label a room; the same arguments give the same scene."""
    labelled = evaluation_room(seed, split)
    visible = labelled.visible_ids
    room = labelled.room
    rng = np.random.default_rng([seed, SPLITS.index(split), 31])
    captions = {}
    # Also of what is too small to be asked for, or it would be taught not to be there.
    for thing in (room.object(int(i)) for i in np.unique(labelled.instance_ids) if i > 0):
        specific = [noun.text for noun in nouns_of(thing) if noun.variants]
        noun = rng.choice(specific) if specific else thing.kind
        captions[thing.instance_id] = f'{thing.color_name} {noun}'
    # And of floor and walls, for the same reason.
    ids = with_structure(labelled.instance_ids)
    captions |= {int(i): structure_name(room, int(i)) for i in np.unique(ids) if i > STRUCTURE}
    expressions = make_expressions(room, 0, SENTENCES, visible, limit=PER_KIND)
    return LabelledScene(
        f'{split}_{seed:06d}',
        labelled.cloud.positions,
        labelled.cloud.colors,
        ids,
        captions,
        [Sentence.of(expression) for expression in expressions],
    )


def build_and_save(path: Path, seed: int, split: str) -> None:
    """Build one file of the cache."""
    save_scene(path, build_scene(seed, split))


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--split', choices=SPLITS, default='train')
    parser.add_argument('--rooms', type=int, default=200)
    parser.add_argument('--first', type=int, default=0, help='seed of the first room')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--workers', type=int, default=2)
    options = parser.parse_args()
    split, seeds = options.split, range(options.first, options.first + options.rooms)
    jobs = [(options.out / f'{split}_{seed:06d}.npz', seed, split) for seed in seeds]
    build_files(build_and_save, jobs, options.workers)


if __name__ == '__main__':
    main()
