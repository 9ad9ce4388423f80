"""One function that draws Gaussians, and the weights with which it does so."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lift_gs_ros.geometry import Camera
from lift_gs_ros.splat import reference
from lift_gs_ros.splat.gaussians import Gaussians
from lift_gs_ros.splat.projection import (
    EPS2D,
    FAR,
    NEAR,
    Kernel,
    View,
    gsplat_intrinsics,
    project,
)
from lift_gs_ros.splat.spherical_harmonics import sh_to_colors

Backend = Literal['auto', 'gsplat', 'compiled', 'reference']


@dataclass(frozen=True)
class RenderedView:
    """What a camera sees: sums over the Gaussians, weighted, **not divided by alpha**."""

    color: Tensor  # (H, W, 3), the background included where one was given
    features: Tensor | None  # (H, W, C)
    alpha: Tensor  # (H, W) in [0, 1], how much of the pixel is covered
    depth: Tensor  # (H, W) metres, of the Gaussians' centres along the optical axis

    def normalised(self) -> RenderedView:
        """Divide features and depth by alpha: means over what was hit, 0 where nothing was.

        The depth is then gsplat's expected depth. The colour stays as it is. Where alpha is
        small the means rest on little: leave such pixels out of losses.
        """
        alpha = self.alpha.clamp_min(1e-10)
        features = None if self.features is None else self.features / alpha[..., None]
        return replace(self, features=features, depth=self.depth / alpha)


def render(
    gaussians: Gaussians,
    camera: Camera,
    world_from_camera: ArrayLike | Tensor,  # (4, 4)
    features: Tensor | None = None,  # (N, C) of the Gaussians
    kernel: Kernel = '3d',
    backend: Backend = 'auto',
    background: Tensor | None = None,  # (3,) colour behind everything; black without it
) -> RenderedView:
    """Draw colour (SH of degree 3), features, depth and alpha in one pass.

    Kernels: ``'3d'`` ellipsoids (3DGS, Kerbl et al. 2023) and ``'2d'`` surfels (2DGS, Huang et al.
    2024), both with the constants and the order (by depth of the centres) of gsplat's defaults.
    Backends: ``'gsplat'`` needs CUDA and its kernels (which it compiles by itself, in minutes and
    once, where the CUDA toolkit is), ``'compiled'`` needs a CPU and numba, ``'reference'`` runs
    anywhere; ``'auto'`` takes the first of them that can run where the Gaussians are, and warns
    once where that is not gsplat on CUDA.

    Gradients reach all tensors of the Gaussians and the features, not the pose. The result has
    the Gaussians' dtype (features are converted to it, also under autocast) and device.

    Masks are linear in the features: to draw m masks, render d mask features and multiply with
    the mask embeddings (m, d) afterwards.

    Raises ValueError on NaN or infinity, shapes that do not fit, and a pose that is not rigid;
    RuntimeError where the backend cannot run.
    """
    backend = _choose_backend(backend, gaussians.means.device)
    _check(gaussians, features, kernel)
    with torch.autocast(gaussians.means.device.type, enabled=False):
        view = View.from_pose(camera, world_from_camera, gaussians.means)
        if backend == 'gsplat':
            channels = _channels(gaussians, view, features)
            image, alpha = _composite_gsplat(gaussians, view, kernel, channels)
        else:
            splats = project(gaussians, view, kernel)
            features = None if features is None else features[splats.indices]
            channels = _channels(gaussians[splats.indices], view, features)
            image, alpha = _compositor(backend).composite(splats, channels)
        color, depth, rendered = image.split([3, 1, image.shape[-1] - 4], dim=-1)
        if background is not None:
            color = color + (1 - alpha)[..., None] * background.to(color)
    return RenderedView(color, None if features is None else rendered, alpha, depth[..., 0])


@torch.no_grad()
def compositing_weights(
    gaussians: Gaussians,
    camera: Camera,
    world_from_camera: ArrayLike | Tensor,  # (4, 4)
    kernel: Kernel = '3d',
) -> Tensor:
    """Return the matrix A (H * W, N), sparse CSR, with ``rendered features = A @ features``.

    Rows are pixels in row-major order; their sums are alpha. Use it where the geometry is fixed
    and features change: rendering is then one sparse product. No gradient reaches the Gaussians;
    ``A @ features`` is differentiable in the features. A is also what the splat feature solver
    inverts.
    """
    _check(gaussians, None, kernel)
    splats = project(gaussians, View.from_pose(camera, world_from_camera, gaussians.means), kernel)
    backend = _choose_backend('auto', torch.device('cpu'))
    on_cpu = gaussians.means.device.type == 'cpu'
    pixels, indices, values = _compositor(backend if on_cpu else 'reference').weight_entries(splats)
    pixel_count = camera.width * camera.height
    columns = splats.indices[indices]
    order = torch.argsort(pixels * len(gaussians) + columns)
    counts = torch.bincount(pixels, minlength=pixel_count)
    rows = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta')
        return torch.sparse_csr_tensor(
            rows,
            columns[order],
            values[order],
            (pixel_count, len(gaussians)),
            check_invariants=False,
        )


def _choose_backend(backend: Backend, device: torch.device) -> Backend:
    has_numba = importlib.util.find_spec('numba') is not None
    if backend == 'auto':
        if device.type == 'cuda' and not _why_no_gsplat():
            return 'gsplat'
        return 'compiled' if device.type == 'cpu' and has_numba else 'reference'
    if backend == 'gsplat' and device.type != 'cuda':
        raise RuntimeError(
            f"backend 'gsplat' needs Gaussians on a CUDA device, these are on {device}: move them "
            "with .to('cuda'), or take backend 'auto'"
        )
    if backend == 'gsplat' and (reason := _why_no_gsplat()):
        raise RuntimeError(f"backend 'gsplat' cannot run: {reason}; or take backend 'auto'")
    if backend == 'compiled' and (device.type != 'cpu' or not has_numba):
        raise RuntimeError(
            f"backend 'compiled' needs Gaussians on the CPU (these are on {device}) and numba "
            f"({'installed' if has_numba else 'missing: pip install numba'}); or take 'auto'"
        )
    if backend not in ('gsplat', 'compiled', 'reference'):
        raise ValueError(
            f"backend is {backend!r}, expected 'auto', 'gsplat', 'compiled' or 'reference'"
        )
    return backend


@cache
def _why_no_gsplat() -> str:
    """Say what gsplat lacks on this computer; nothing where its kernels are there."""
    if importlib.util.find_spec('gsplat') is None:
        reason = 'gsplat is not installed: pip install gsplat'
    else:
        try:  # the wheel brings sources; this compiles them, where they are not compiled yet
            from gsplat.cuda._backend import _C
        except Exception as error:  # whatever the compiler, ninja or the linker says
            reason = f'its CUDA kernels could not be compiled ({type(error).__name__}: {error})'
        else:
            if _C is not None:
                return ''
            reason = (
                'its CUDA kernels are missing: install the CUDA toolkit (nvcc) of the version '
                f'that torch was built with, {torch.version.cuda}'
            )
    warnings.warn(f'Gaussians are drawn without gsplat, many times slower: {reason}', stacklevel=2)
    return reason


def _compositor(backend: Backend) -> ModuleType:
    if backend == 'reference':
        return reference
    from lift_gs_ros.splat import compiled  # compiles on import: only where it is used

    return compiled


def _check(gaussians: Gaussians, features: Tensor | None, kernel: Kernel) -> None:
    if kernel not in ('3d', '2d'):
        raise ValueError(f"kernel is {kernel!r}, expected '3d' (ellipsoids) or '2d' (surfels)")
    gaussians.check_finite()
    if features is None:
        return
    if features.ndim != 2 or len(features) != len(gaussians):
        raise ValueError(
            f'features have shape {tuple(features.shape)}, expected ({len(gaussians)}, C): '
            'one row per Gaussian'
        )
    if not features.isfinite().all():
        raise ValueError('features hold NaN or infinity, expected finite numbers')


def _channels(gaussians: Gaussians, view: View, features: Tensor | None) -> Tensor:
    """Colour, depth and features side by side, (N, 4 + C)."""
    colors = sh_to_colors(gaussians.sh, gaussians.means - view.center)
    channels = [colors, view.depths(gaussians.means)[:, None]]
    if features is not None:
        channels.append(features.to(colors))
    return torch.cat(channels, dim=1)


def _composite_gsplat(
    gaussians: Gaussians, view: View, kernel: Kernel, channels: Tensor
) -> tuple[Tensor, Tensor]:
    """Let gsplat project and blend: image (H, W, C) and alpha (H, W)."""
    import gsplat

    if gaussians.means.dtype != torch.float32:
        raise TypeError(f"gaussians are {gaussians.means.dtype}, backend 'gsplat' needs float32")
    viewmat = torch.eye(4).to(gaussians.means)
    viewmat[:3, :3], viewmat[:3, 3] = view.rotation, view.translation
    count = channels.shape[1]
    if kernel == '2d':  # gsplat 1.5 pads with memory that it does not clear: pad here
        padding = (1 << (count - 1).bit_length()) - count
        channels = torch.nn.functional.pad(channels, (0, padding))
    draw = gsplat.rasterization if kernel == '3d' else gsplat.rasterization_2dgs
    with torch.cuda.device_of(gaussians.means):  # a part of gsplat works on the current device
        result = draw(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            channels,
            viewmat[None],
            torch.from_numpy(gsplat_intrinsics(view.camera)).to(gaussians.means)[None],
            view.camera.width,
            view.camera.height,
            near_plane=NEAR,
            far_plane=FAR,
            eps2d=EPS2D,
            packed=False,
        )
    return result[0][0, ..., :count], result[1][0, ..., 0]
