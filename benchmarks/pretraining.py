"""Time whole pretraining steps and their parts: python -m benchmarks.pretraining.

The steps of config/train/small.yaml on simulated training rooms, one thread, in the order in which
a run takes them. "draw" is what a thread does ahead of the steps (``training.prefetch``): a crop,
its augmentation, its query, and the share of the compositing weights that the crop has; the
weights of a view are made once, when it is first drawn, and are not in it. "losses" is what the
forward pass does besides encoding, decoding and rendering. CPU times, which hold beside other
programs too; medians over the steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import report
from lift_gs_ros.model.language import load_language_encoder
from training import objective
from training.config import load_settings
from training.data.load import RoomFiles
from training.data.rooms import build_room
from training.data.stream import RoomStream
from training.engine import Batch, adamw, clip_gradients, step_rng
from training.pretrain import PretrainSettings, draw_samples
from training.trainer import build_model

CONFIG = Path(__file__).parent.parent / 'config/train/small.yaml'
INSIDE = ('encode', 'decode', 'render')  # of the forward pass


class Clock:
    """CPU seconds of each part of one step."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = defaultdict(float)

    def time(self, part: str, function: Callable) -> Callable:
        """Return the function, whose time counts for a part."""

        def timed(*arguments: Any) -> Any:
            begin = time.process_time()
            try:
                return function(*arguments)
            finally:
                self.parts[part] += time.process_time() - begin

        return timed


def measure(rooms: int, steps: int, voxels: int) -> list[dict[str, float]]:
    """Take steps; returns CPU seconds of the parts of each but the first, which warms up."""
    settings = load_settings(PretrainSettings, CONFIG, [f'sample.max_points={voxels}'])
    stream = rooms_in_memory(rooms)
    model = build_model(settings).train()
    language = load_language_encoder(model.config.language)
    learned = objective.PretrainObjective(model, language, settings.loss)
    optimizer = adamw(model, settings.learning_rate, settings.weight_decay)
    found = []
    encode, decode, render = model.encode, model.decode, objective.render_fixed
    try:
        for step in range(steps + 1):
            clock = Clock()
            # An instance's attribute stands before its class's method.
            vars(model).update(
                encode=clock.time('encode', encode), decode=clock.time('decode', decode)
            )
            objective.render_fixed = clock.time('render', render)
            rng = step_rng(settings.seed, step)
            size = model.config.voxel_size
            samples = clock.time('draw', draw_samples)(stream, settings, size, step, rng)
            loss, _ = clock.time('forward', learned)(Batch(samples, rng))
            clock.time('backward', loss.backward)()
            clock.time('update', update)(model, optimizer, settings.clip_norm)
            inside = sum(clock.parts[part] for part in INSIDE)
            clock.parts['losses'] = clock.parts['forward'] - inside
            found.append(dict(clock.parts))
    finally:
        objective.render_fixed = render
    return found[1:]


def rooms_in_memory(count: int) -> RoomStream:
    """Simulate training rooms, and composite all their views now instead of in some step."""
    built = [build_room(seed, 'train') for seed in tqdm(range(count), desc='rooms')]
    for room in built:
        assert all(view.weights.nnz for view in room.views)
    names = [str(number) for number in range(count)]
    files = RoomFiles('memory', names, lambda name: built[int(name)])
    return RoomStream(files, count, visit=1, seed=0)


def update(model: torch.nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float) -> None:
    """Clip the gradients and take the step."""
    clip_gradients(model, clip_norm)
    optimizer.step()
    optimizer.zero_grad()


def main() -> None:
    """Measure a step and its parts."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rooms', type=int, default=3)
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--voxels', type=int, default=7000, help='of a crop, at most')
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = measure(options.rooms, options.steps, options.voxels)
    for step in steps:
        step['a step'] = sum(step[part] for part in ('forward', 'backward', 'update'))
    whole = statistics.median(step['a step'] for step in steps)
    for part in ('a step', 'draw', *INSIDE, 'losses', 'backward', 'update'):
        times = [1e3 * step[part] for step in steps]
        value = statistics.median(times)
        note = f'{100 * value / 1e3 / whole:.0f}% of a step'
        if part == 'a step':
            note = f'two crops of {options.voxels} voxels at most, drawn beside it'
        elif part == 'draw':
            note = f'beside it, in a thread of its own; {note}'
        report(f'pretraining: {part}', value, 'CPU ms', (min(times), max(times)), note)


if __name__ == '__main__':
    main()
