"""Measure a checkpoint on fresh simulated rooms.

    python -m training.evaluate --seed 7 --rooms 40 --out evaluate.json

The rooms are of the test distribution by default: from seeds that no training used, a quarter of
their objects of colours and shapes that no training room held.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from lift_gs_ros.grounding.grounder import Grounder
from lift_gs_ros.simulation.rooms import SPLITS
from training.evaluation.benchmark import Scores, evaluate_room
from training.evaluation.rooms import evaluation_room

SEEDS_APART = 100_000  # rooms of two evaluation seeds never coincide


def evaluate(checkpoint: str, seed: int, rooms: int, split: str = 'test', workers: int = 1) -> dict:
    """Evaluate a checkpoint ('' = the one that ships) on rooms made from a seed.

    Rooms are shared out among processes of one thread each; the result does not depend on it.
    """
    seeds = [seed * SEEDS_APART + number for number in range(rooms)]
    scores = Scores()
    if workers == 1:
        scores = _evaluate_rooms(checkpoint, tqdm(seeds, desc='rooms'), split)
        return scores.summary()
    with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _one_thread) as pool:
        parts = [seeds[first :: 4 * workers] for first in range(4 * workers)]
        futures = [pool.submit(_evaluate_rooms, checkpoint, part, split) for part in parts if part]
        for future in tqdm(futures, desc=f'parts of {rooms} rooms'):
            scores.extend(future.result())
    return scores.summary()


def _one_thread() -> None:
    torch.set_num_threads(1)


def _evaluate_rooms(checkpoint: str, seeds: Iterable[int], split: str) -> Scores:
    grounder, scores = Grounder.load(checkpoint), Scores()
    for seed in seeds:
        evaluate_room(grounder, evaluation_room(seed, split), scores)
    return scores


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--checkpoint', default='', help='default: the one that ships')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--rooms', type=int, default=40)
    parser.add_argument('--split', choices=SPLITS, default='test')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--out', type=Path, default=Path('evaluate.json'))
    arguments = parser.parse_args()
    if min(arguments.rooms, arguments.workers) < 1 or arguments.seed < 0:
        parser.error('expected --rooms and --workers of at least 1 and --seed of at least 0')
    result = evaluate(
        arguments.checkpoint,
        arguments.seed,
        arguments.rooms,
        arguments.split,
        arguments.workers,
    )
    arguments.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
