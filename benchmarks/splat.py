"""Time the renderer's backends: python -m benchmarks.splat, a table in Markdown on stdout.

20 000 Gaussians on the surfaces of a room of 4 x 4 x 2.5 m, seen at 160 x 120 pixels with 99
channels (colour and 96 features), as a pretraining step draws them. The time of a pass is the
median over the repeats; gradients reach the Gaussians and the features.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from dataclasses import fields

import torch

from lift_gs_ros.geometry import Camera, look_at
from lift_gs_ros.splat.gaussians import Gaussians
from lift_gs_ros.splat.render import render
from lift_gs_ros.splat.spherical_harmonics import colors_to_sh

COUNT, FEATURES = 20_000, 96
CAMERA = Camera.from_focal(120.0, 120.0, 79.5, 59.5, 160, 120)
POSE = look_at((0.4, 0.4, 1.5), (2.5, 2.5, 0.8))


def make_room(device: str) -> tuple[Gaussians, torch.Tensor]:
    """Gaussians of 3 cm on the floor and the walls of a room, all in front of the camera."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(20 * COUNT, 3, generator=generator) * torch.tensor([4.0, 4.0, 2.5])
    surface = torch.randint(0, 3, (len(points),), generator=generator)
    points[surface == 0, 2] = 0.0
    points[surface == 1, 0] = 4.0
    points[surface == 2, 1] = 4.0
    camera_from_world = torch.linalg.inv(torch.from_numpy(POSE)).float()
    in_camera = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    pixels, _ = CAMERA.project(in_camera.numpy())
    visible = (pixels >= 0) & (pixels < [CAMERA.width, CAMERA.height])
    points = points[torch.from_numpy(visible.all(axis=1))][:COUNT]
    tensors = [
        points,
        torch.randn(COUNT, 4, generator=generator),
        torch.full((COUNT, 3), 0.03),
        torch.full((COUNT,), 0.9),
        colors_to_sh(torch.rand(COUNT, 3, generator=generator)),
        torch.randn(COUNT, FEATURES, generator=generator),
    ]
    tensors = [tensor.to(device).requires_grad_() for tensor in tensors]
    return Gaussians(*tensors[:-1]), tensors[-1]


def time_backend(backend: str, kernel: str, device: str, repeats: int) -> tuple[float, float]:
    """Seconds of a forward and of a backward pass."""
    gaussians, features = make_room(device)
    inputs = [getattr(gaussians, field.name) for field in fields(gaussians)] + [features]
    forward, backward = [], []
    for repeat in range(repeats + 1):
        start = _now(device)
        view = render(gaussians, CAMERA, POSE, features, kernel, backend)
        loss = view.color.square().mean() + view.features.square().mean() + view.depth.mean()
        middle = _now(device)
        torch.autograd.grad(loss, inputs)
        if repeat > 0:  # the first one compiles and warms up
            forward.append(middle - start)
            backward.append(_now(device) - middle)
    return statistics.median(forward), statistics.median(backward)


def _now(device: str) -> float:
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description='Time the backends of the splat renderer.')
    parser.add_argument('--repeats', type=int, default=5)
    repeats = parser.parse_args().repeats
    runs = [('reference', 'cpu'), ('compiled', 'cpu')]
    if torch.cuda.is_available():
        runs.append(('reference', 'cuda'))
        if importlib.util.find_spec('gsplat') is not None:
            runs.append(('gsplat', 'cuda'))
    print(
        f'{COUNT} Gaussians, {CAMERA.width}x{CAMERA.height} pixels, {3 + FEATURES} channels, '
        f'{torch.get_num_threads()} threads of {os.cpu_count()} cores, torch {torch.__version__}\n'
    )
    print('| kernel | backend | device | forward (s) | backward (s) | sum, times faster |')
    print('| --- | --- | --- | ---: | ---: | ---: |')
    for kernel in ('3d', '2d'):
        slowest = None
        for backend, device in runs:
            forward, backward = time_backend(backend, kernel, device, repeats)
            slowest = slowest or forward + backward
            print(
                f'| {kernel} | {backend} | {device} | {forward:.3f} | {backward:.3f} '
                f'| {slowest / (forward + backward):.1f} |'
            )


if __name__ == '__main__':
    main()
