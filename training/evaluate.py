"""Measure a checkpoint on fresh simulated rooms.

    python -m training.evaluate --seed 7 --rooms 40 --out evaluate.json

The rooms are of the test distribution by default: from seeds that no training used, a quarter of
their objects of colours and shapes that no training room held.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from lift_gs_ros.grounding.grounder import Grounder
from lift_gs_ros.simulation.rooms import SPLITS
from training.evaluation.benchmark import Scores, evaluate_room
from training.evaluation.rooms import evaluation_room

SEEDS_APART = 100_000  # rooms of two evaluation seeds never coincide


def evaluate(checkpoint: str, seed: int, rooms: int, split: str = 'test') -> dict:
    """Evaluate a checkpoint ('' = the one that ships) on rooms made from a seed."""
    grounder, scores = Grounder.load(checkpoint), Scores()
    for number in tqdm(range(rooms), desc='rooms'):
        evaluate_room(grounder, evaluation_room(seed * SEEDS_APART + number, split), scores)
    return scores.summary()


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--checkpoint', default='', help='default: the one that ships')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--rooms', type=int, default=40)
    parser.add_argument('--split', choices=SPLITS, default='test')
    parser.add_argument('--out', type=Path, default=Path('evaluate.json'))
    arguments = parser.parse_args()
    if arguments.rooms < 1 or arguments.seed < 0:
        parser.error('expected --rooms of at least 1 and --seed of at least 0')
    result = evaluate(arguments.checkpoint, arguments.seed, arguments.rooms, arguments.split)
    arguments.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
