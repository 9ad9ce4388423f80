"""Photometric loss: L1 and structural similarity (LIFT-GS, equation 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def photometric_loss(
    rendered: Tensor,  # (H, W, 3) in [0, 1]
    image: Tensor,  # (H, W, 3) in [0, 1]
    valid: Tensor | None = None,  # (H, W) bool, pixels that count
    l1_weight: float = 0.8,
    ssim_weight: float = 0.2,
) -> Tensor:
    """``l1_weight * L1 + ssim_weight * (1 - SSIM)``; 0 for a perfect image.

    The paper names the two terms, not their weights; 0.8 and 0.2 are those of Gaussian splatting
    (Kerbl et al. 2023). Pixels that are not valid take the image's own value on both sides, so
    that they neither cost anything nor disturb the windows of SSIM at the border.
    """
    if rendered.shape != image.shape or rendered.shape[-1] != 3:
        raise ValueError(
            f'rendered is {tuple(rendered.shape)} and image {tuple(image.shape)}, '
            'expected (H, W, 3) for both'
        )
    share = 1.0
    if valid is not None:
        rendered = torch.where(valid[..., None], rendered, image)
        share = float(valid.float().mean())
        if share == 0:
            return rendered.sum() * 0.0
    l1 = (rendered - image).abs().mean()
    return (l1_weight * l1 + ssim_weight * (1 - ssim(rendered, image))) / share


def ssim(first: Tensor, second: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Mean structural similarity of two images (H, W, C) in [0, 1] (Wang et al. 2004).

    In full precision, also under autocast: variances are small differences of squares.
    """
    with torch.autocast(first.device.type, enabled=False):
        return _ssim(first.float(), second.float(), window, sigma)


def _ssim(first: Tensor, second: Tensor, window: int, sigma: float) -> Tensor:
    offsets = torch.arange(window, dtype=first.dtype, device=first.device) - window // 2
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    x, y = first.permute(2, 0, 1)[:, None], second.permute(2, 0, 1)[:, None]  # (C, 1, H, W)
    moments = torch.cat([x, y, x * x, y * y, x * y])
    pad = window // 2
    blurred = F.conv2d(moments, kernel.view(1, 1, 1, -1), padding=(0, pad))
    blurred = F.conv2d(blurred, kernel.view(1, 1, -1, 1), padding=(pad, 0))
    # Zero padding darkens the border; dividing by the same blur of ones undoes it.
    weight = F.conv2d(torch.ones_like(x[:1]), kernel.view(1, 1, 1, -1), padding=(0, pad))
    weight = F.conv2d(weight, kernel.view(1, 1, -1, 1), padding=(pad, 0))
    mean_x, mean_y, square_x, square_y, product = (blurred / weight).chunk(5)
    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return similarity.mean()
