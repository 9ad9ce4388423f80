"""Random Gaussians in front of a camera, shared by the tests of splatting."""

import torch

from lift_gs_ros.geometry import Camera, look_at
from lift_gs_ros.splat.gaussians import Gaussians

CAMERA = Camera.from_focal(55.0, 57.0, 30.3, 22.1, 61, 43)
POSE = look_at((-1.5, -1.0, 1.2), (1.0, 1.0, 0.5))


def make_scene(count, seed, channels=4, dtype=torch.float32, scale=0.1, requires_grad=False):
    """Gaussians in a cube of two metres that CAMERA at POSE sees, and features (N, channels)."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tensors = [
        rand(count, 3) * 2 - torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64),
        randn(count, 4),
        scale * (0.3 + rand(count, 3)),
        0.2 + 0.7 * rand(count),
        0.15 * randn(count, 16, 3),
        randn(count, channels),
    ]
    tensors = [tensor.to(dtype).requires_grad_(requires_grad) for tensor in tensors]
    return Gaussians(*tensors[:-1]), tensors[-1]
