"""Time the network: python -m benchmarks.model, tables in Markdown on stdout.

The maps are surfaces of a furnished room at 5 cm, cut at the stated number of voxels. "encode" is
what a changed chunk costs, "decode" what a query costs on cached encodings (language encoder
apart, point masks included), "train encode" the encoder forward and backward, as in training.
Medians over the repeats. On a CPU nothing else may run: threads that wait for each other's cores
are ten times slower.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from lift_gs_ros.model.config import LiftGSConfig
from lift_gs_ros.model.lift_gs import LiftGS
from lift_gs_ros.model.tokens import LanguageTokens

VOXEL_SIZE = 0.05


def room(num_voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and colours of the first voxels of a room with boxes for furniture."""
    generator = np.random.default_rng(0)
    boxes = [(np.zeros(3), np.array([8.0, 7.0, 2.5]))]
    for _ in range(30):
        corner = generator.uniform([0.3, 0.3, 0], [7.0, 6.0, 0.2])
        boxes.append((corner, corner + generator.uniform(0.3, 1.0, 3)))
    points = []
    for lower, upper in boxes:
        for axis in range(3):
            for side in (lower, upper):
                area = np.prod(np.delete(upper - lower, axis))
                face = generator.uniform(lower, upper, (int(3000 * area), 3))
                face[:, axis] = side[axis]
                points.append(face)
    noisy = np.concatenate(points) + generator.normal(0, 0.006, (sum(map(len, points)), 3))
    cells = np.unique(np.floor(noisy / VOXEL_SIZE + 0.5), axis=0)
    if len(cells) < num_voxels:
        raise ValueError(f'the room has {len(cells)} voxels, expected {num_voxels} at least')
    positions = ((cells[:num_voxels] + 0.5) * VOXEL_SIZE).astype(np.float32)
    return positions, generator.random(positions.shape, dtype=np.float32)


def sentence(config: LiftGSConfig, words: int = 12) -> LanguageTokens:
    """Random tokens; their number is what costs time."""
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(words, config.language_dim)).astype(np.float32)
    return LanguageTokens('', embeddings, np.zeros((words, 2), np.int64), embeddings[0])


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median over the repeats, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def measure(size: str, backend: str, voxels: int, device: str, repeats: int) -> str:
    """Return one row of the table."""
    config = getattr(LiftGSConfig, size)()
    model = LiftGS(config, backend).to(device).eval()
    cloud, tokens = room(voxels), sentence(config)
    with torch.inference_mode():
        encode = median_seconds(lambda: model.encode([cloud]), repeats)
        encodings = model.encode([cloud])
        decode = median_seconds(lambda: model.decode(encodings, tokens).mask_logits(), repeats)
    model.train()

    def step() -> None:
        encoding = model.encode([cloud])[0]
        (encoding.mask_features.square().mean() + encoding.keys.square().mean()).backward()

    train = median_seconds(step, repeats)
    visual = len(encodings[0].token_positions)
    return (
        f'| {size} | {backend} | {voxels} | {visual} | {1e3 * encode:.0f} | {1e3 * decode:.0f} '
        f'| {1e3 * train:.0f} |'
    )


def main() -> None:
    """Measure all sizes and backends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--voxels', type=int, nargs='+', default=[8000, 20000])
    parser.add_argument('--sizes', nargs='+', default=['small', 'base'])
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--repeats', type=int, default=3)
    arguments = parser.parse_args()
    backends = ['torch'] + ['spconv'] * (importlib.util.find_spec('spconv') is not None)
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        print(f'\n{arguments.device}, {threads} thread(s), torch {torch.__version__}\n')
        print('| size | backend | voxels | tokens | encode ms | decode ms | train encode ms |')
        print('|---|---|---|---|---|---|---|')
        for size in arguments.sizes:
            for voxels in arguments.voxels:
                for backend in backends:
                    row = measure(size, backend, voxels, arguments.device, arguments.repeats)
                    print(row, flush=True)


if __name__ == '__main__':
    main()
