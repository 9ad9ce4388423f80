"""Real spherical harmonics of degree 3, in the order and with the signs of Gaussian splatting."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lift_gs_ros.splat.gaussians import SH_COEFFICIENTS

DC = 0.5 / math.sqrt(math.pi)  # the constant harmonic, Y_00


def sh_basis(
    directions: Tensor,  # (..., 3) unit vectors
) -> Tensor:
    """Values of the 16 real harmonics, (..., 16).

    Index l^2 + l + m for degree l and order m = -l .. l, with the Condon-Shortley phase, as in
    3DGS and gsplat. Closed forms: Sloan, Efficient Spherical Harmonic Evaluation, JCGT 2013.
    """
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    one = math.sqrt(3 / (4 * math.pi))
    two = math.sqrt(15 / (4 * math.pi))
    three = math.sqrt(35 / (32 * math.pi))
    three_1 = math.sqrt(21 / (32 * math.pi))
    three_2 = math.sqrt(105 / (4 * math.pi))
    return torch.stack(
        [
            torch.full_like(x, DC),
            -one * y,
            one * z,
            -one * x,
            two * x * y,
            -two * y * z,
            math.sqrt(5 / (16 * math.pi)) * (3 * zz - 1),
            -two * x * z,
            two / 2 * (xx - yy),
            -three * y * (3 * xx - yy),
            three_2 * x * y * z,
            -three_1 * y * (5 * zz - 1),
            math.sqrt(7 / (16 * math.pi)) * z * (5 * zz - 3),
            -three_1 * x * (5 * zz - 1),
            three_2 / 2 * z * (xx - yy),
            -three * x * (xx - 3 * yy),
        ],
        dim=-1,
    )


def sh_to_colors(
    sh: Tensor,  # (N, 16, 3)
    directions: Tensor,  # (N, 3) from the camera to the Gaussians, of any length
) -> Tensor:
    """Colours (N, 3) seen from the given directions: max(harmonics + 0.5, 0), as in 3DGS."""
    basis = sh_basis(torch.nn.functional.normalize(directions, dim=-1))
    return ((basis[..., None] * sh).sum(dim=-2) + 0.5).clamp_min(0)


def colors_to_sh(
    colors: Tensor,  # (N, 3) in [0, 1]
) -> Tensor:
    """Coefficients (N, 16, 3) of Gaussians that have the same colour from every side."""
    constant = ((colors - 0.5) / DC)[:, None, :]
    return torch.nn.functional.pad(constant, (0, 0, 0, SH_COEFFICIENTS - 1))
