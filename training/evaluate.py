"""Measure a checkpoint, or a baseline that needs none, on fresh simulated rooms.

    python -m training.evaluate --seed 7 --rooms 40 --out evaluate.json
    python -m training.evaluate --seed 7 --rooms 40 --baseline lifting --out lifting.json
    python -m training.evaluate --seed 7 --rooms 40 --rooms-per-map 8 --out houses.json

The rooms are of the test distribution by default: from seeds that no training used, a quarter of
their objects of colours and shapes that no training room held.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from lift_gs_ros.grounding.grounder import Grounder
from lift_gs_ros.model.language import load_language_encoder
from lift_gs_ros.simulation.rooms import SPLITS
from training.baselines.chance import ChanceGrounder
from training.baselines.lifting import LiftingGrounder
from training.evaluation.benchmark import Answering, Scores, evaluate_room
from training.evaluation.houses import house_of
from training.evaluation.rooms import EvaluationRoom, evaluation_room

BASELINES = ('lifting', 'chance')
SEEDS_APART = 100_000  # rooms of two evaluation seeds never coincide


def evaluate(
    checkpoint: str,
    seed: int,
    rooms: int,
    split: str = 'test',
    workers: int = 1,
    baseline: str = '',
    rooms_per_map: int = 1,
) -> dict:
    """Evaluate a checkpoint ('' = the one that ships) on rooms made from a seed.

    A ``baseline`` ('lifting' or 'chance') takes the checkpoint's place. With several rooms to a map
    they are the rooms of a house. Maps are shared out among processes of one thread each; the
    result does not depend on it. Raises ValueError for 'lifting' with several rooms to a map.
    """
    if baseline == 'lifting' and rooms_per_map > 1:
        raise ValueError('the baseline "lifting" knows single rooms only, expected 1 room per map')
    seeds = [seed * SEEDS_APART + number for number in range(rooms)]
    maps = [seeds[first : first + rooms_per_map] for first in range(0, rooms, rooms_per_map)]
    scores = Scores()
    if workers == 1:
        scores = _evaluate_maps(checkpoint, tqdm(maps, desc='maps'), split, baseline)
        return scores.summary()
    with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _one_thread) as pool:
        parts = [maps[first :: 4 * workers] for first in range(4 * workers)]
        futures = [
            pool.submit(_evaluate_maps, checkpoint, part, split, baseline) for part in parts if part
        ]
        for future in tqdm(futures, desc=f'parts of {rooms} rooms'):
            scores.extend(future.result())
    return scores.summary()


def _one_thread() -> None:
    torch.set_num_threads(1)


def _evaluate_maps(
    checkpoint: str, maps: Iterable[Sequence[int]], split: str, baseline: str
) -> Scores:
    grounder_of = _grounders(checkpoint, baseline)
    scores = Scores()
    for seeds in maps:
        rooms = [evaluation_room(seed, split) for seed in seeds]
        room = house_of(rooms) if len(rooms) > 1 else rooms[0]
        evaluate_room(grounder_of(room), room, scores)
    return scores


def _grounders(checkpoint: str, baseline: str) -> Callable[[EvaluationRoom], Answering]:
    """Load what answers in each room; raises ValueError for an unknown baseline."""
    if not baseline:
        grounder = Grounder.load(checkpoint)
        return lambda room: grounder
    if baseline == 'lifting':
        language = load_language_encoder()
        return lambda room: LiftingGrounder.of_room(room.room, language)
    if baseline == 'chance':
        return lambda room: ChanceGrounder(room.room.seed)
    raise ValueError(f'baseline is {baseline!r}, expected one of {BASELINES}')


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    measured = parser.add_mutually_exclusive_group()
    measured.add_argument('--checkpoint', default='', help='default: the one that ships')
    measured.add_argument('--baseline', choices=BASELINES, default='', help='instead of a model')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--rooms', type=int, default=40)
    parser.add_argument('--rooms-per-map', type=int, default=1, help='more: houses')
    parser.add_argument('--split', choices=SPLITS, default='test')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--out', type=Path, default=Path('evaluate.json'))
    arguments = parser.parse_args()
    counts = arguments.rooms, arguments.rooms_per_map, arguments.workers
    if min(counts) < 1 or arguments.seed < 0:
        parser.error('expected --rooms, --rooms-per-map and --workers of 1 and --seed of 0 or more')
    arguments.out.parent.mkdir(parents=True, exist_ok=True)  # now, not after all rooms
    result = evaluate(
        arguments.checkpoint,
        arguments.seed,
        arguments.rooms,
        arguments.split,
        arguments.workers,
        arguments.baseline,
        arguments.rooms_per_map,
    )
    arguments.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
