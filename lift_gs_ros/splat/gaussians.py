"""A set of Gaussians: what the model predicts and the renderer draws."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

SH_COEFFICIENTS = 16  # degree 3


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians in the world frame, all tensors of one floating dtype on one device.

    The conventions are those of gsplat (and of 3D Gaussian splatting, Kerbl et al. 2023), with
    activations already applied. As surfels (kernel ``'2d'`` of ``render``) the first two axes span
    the disc, and the third scale is not used.
    """

    means: Tensor  # (N, 3) centres, metres
    quats: Tensor  # (N, 4) rotations wxyz, of any length but zero
    scales: Tensor  # (N, 3) standard deviations along the rotated axes, metres
    opacities: Tensor  # (N,) in [0, 1]
    sh: Tensor  # (N, 16, 3) spherical harmonics of red, green, blue, degree 3

    def __post_init__(self) -> None:
        n = len(self.means) if self.means.ndim else 0
        shapes = {
            'means': (n, 3),
            'quats': (n, 4),
            'scales': (n, 3),
            'opacities': (n,),
            'sh': (n, SH_COEFFICIENTS, 3),
        }
        for name, expected in shapes.items():
            tensor = getattr(self, name)
            if tuple(tensor.shape) != expected:
                raise ValueError(
                    f'{name} have shape {tuple(tensor.shape)}, expected {expected} '
                    f'for {n} Gaussians (the number of means)'
                )
            if tensor.dtype not in (torch.float32, torch.float64):
                raise TypeError(
                    f'{name} are {tensor.dtype}, expected torch.float32 or torch.float64: '
                    'convert them with .float() (mixed precision ends before the renderer)'
                )
            if tensor.dtype != self.means.dtype or tensor.device != self.means.device:
                raise ValueError(
                    f'{name} are {tensor.dtype} on {tensor.device}, expected '
                    f'{self.means.dtype} on {self.means.device} like the means'
                )

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: slice | Tensor) -> Gaussians:
        """Select Gaussians by a slice, a boolean mask (N,) or indices."""
        return Gaussians(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, *args: torch.device | torch.dtype | str) -> Gaussians:
        """Move to a device or a dtype, as ``Tensor.to`` does."""
        return Gaussians(*(getattr(self, field.name).to(*args) for field in fields(self)))

    def check_finite(self) -> None:
        """Raise ValueError, with the name of the tensor, where a value is NaN or infinite."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        # One number per tensor and one transfer: a GPU is waited for once.
        finite = torch.stack([tensor.isfinite().all() for tensor in named.values()]).tolist()
        for (name, tensor), is_finite in zip(named.items(), finite):
            if not is_finite:
                bad = (~tensor.isfinite()).reshape(len(self), -1).any(dim=1).nonzero()[:, 0]
                raise ValueError(
                    f'{name} hold NaN or infinity in {len(bad)} of {len(self)} Gaussians, first '
                    f'in number {int(bad[0])}: {tensor[bad[0]].flatten()[:4].tolist()}; expected '
                    'finite numbers (has training diverged?)'
                )
