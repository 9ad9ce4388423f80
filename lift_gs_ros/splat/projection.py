"""From Gaussians in the world to splats in the image: the part that every CPU backend shares.

The image has pixel centres at integers (see ``geometry``); gsplat has them at +0.5. Both agree
once the principal point is moved by half a pixel, see ``gsplat_intrinsics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lift_gs_ros.geometry import Camera, invert_transform, rigid_transform
from lift_gs_ros.splat.gaussians import Gaussians

Kernel = Literal['3d', '2d']

# gsplat's defaults. They decide what is drawn, so all backends share them.
NEAR, FAR = 0.01, 1e10  # metres; centres outside are not drawn
EPS2D = 0.3  # pixels^2, low-pass filter of the 3D kernel
MIN_ALPHA = 1 / 255  # less than this is skipped
MAX_ALPHA = 0.999
MIN_TRANSMITTANCE = 1e-4  # a pixel is done before it would fall to this


@dataclass(frozen=True)
class View:
    """A camera at a place, as tensors of the Gaussians' dtype and device."""

    camera: Camera
    rotation: Tensor  # (3, 3) of camera_from_world
    translation: Tensor  # (3,) of camera_from_world, metres
    center: Tensor  # (3,) of the camera in the world, metres

    @classmethod
    def from_pose(
        cls,
        camera: Camera,
        world_from_camera: ArrayLike | Tensor,  # (4, 4)
        like: Tensor,
    ) -> View:
        """Check the pose and take the dtype and the device of ``like``.

        Raises ValueError where the pose is not a rigid transform or holds NaN.
        """
        if isinstance(world_from_camera, Tensor):
            world_from_camera = world_from_camera.detach().cpu().numpy()
        pose = rigid_transform(world_from_camera)
        inverse = torch.from_numpy(invert_transform(pose)).to(like)
        return cls(camera, inverse[:3, :3], inverse[:3, 3], torch.from_numpy(pose[:3, 3]).to(like))

    def depths(self, means: Tensor) -> Tensor:
        """Distance (N,) of points (N, 3) in the world along the optical axis, metres."""
        return means @ self.rotation[2] + self.translation[2]


@dataclass(frozen=True)
class Splats:
    """The M Gaussians that a view can see, nearest centre first.

    ``geometry`` has, per splat, the pixel ``(u, v)`` of its centre, its opacity, and then

    * kernel ``'3d'``: the conic (a, b, c), with alpha = opacity exp(-q) and
      q = (a du^2 + c dv^2) / 2 + b du dv: (M, 6);
    * kernel ``'2d'``: the rows of the (3, 3) matrix that takes (s, t, 1) on the disc to
      homogeneous pixels (2DGS, Huang et al. 2024, equation 7): (M, 12).

    Outside ``bounds`` (u, v of the first pixel, u, v after the last pixel) alpha is less than
    1/255: (M, 4) int32.
    """

    kernel: Kernel
    camera: Camera
    indices: Tensor  # (M,) int64, which Gaussians
    depths: Tensor  # (M,) metres
    geometry: Tensor
    bounds: Tensor


def project(gaussians: Gaussians, view: View, kernel: Kernel) -> Splats:
    """Project, drop what cannot be seen, sort by the depth of the centres. Differentiable."""
    with torch.no_grad():
        depths = view.depths(gaussians.means)
        seen = (depths > NEAR) & (depths < FAR) & (gaussians.opacities >= MIN_ALPHA)
        candidates = seen.nonzero()[:, 0]
    means = gaussians.means[candidates] @ view.rotation.T + view.translation
    axes = view.rotation @ _scaled_axes(gaussians.quats[candidates], gaussians.scales[candidates])
    project_shape = _project_ellipsoids if kernel == '3d' else _project_surfels
    geometry, bounds, valid = project_shape(
        means, axes, gaussians.opacities[candidates], view.camera
    )
    with torch.no_grad():
        keep = (valid & (bounds[:, 2:] > bounds[:, :2]).all(dim=1)).nonzero()[:, 0]
        keep = keep[torch.sort(means[keep, 2], stable=True).indices]
    return Splats(
        kernel, view.camera, candidates[keep], means[keep, 2], geometry[keep], bounds[keep]
    )


def gsplat_intrinsics(camera: Camera) -> np.ndarray:
    """Intrinsics (3, 3) with pixel centres at +0.5, the convention of gsplat."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, 2] += 0.5
    return intrinsics


def _scaled_axes(quats: Tensor, scales: Tensor) -> Tensor:
    """Rotation times scale, (N, 3, 3): columns are the axes of the ellipsoids."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rotation = torch.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ],
        dim=-1,
    ).reshape(-1, 3, 3)
    return rotation * scales[:, None, :]


def _project_ellipsoids(
    means: Tensor,  # (N, 3) in the camera frame
    axes: Tensor,  # (N, 3, 3) in the camera frame
    opacities: Tensor,  # (N,)
    camera: Camera,
) -> tuple[Tensor, Tensor, Tensor]:
    """Project as EWA splatting does (Zwicker et al. 2001; 3DGS, equation 5)."""
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    z = means[:, 2]
    x, y = means[:, 0] / z, means[:, 1] / z
    # The linearisation is taken no further out than 15% of the image beyond its border.
    margin_x, margin_y = 0.15 * camera.width / fx, 0.15 * camera.height / fy
    x_near = x.clamp(-(cx + 0.5) / fx - margin_x, (camera.width - cx - 0.5) / fx + margin_x)
    y_near = y.clamp(-(cy + 0.5) / fy - margin_y, (camera.height - cy - 0.5) / fy + margin_y)
    across = (fx / z)[:, None] * (axes[:, 0] - x_near[:, None] * axes[:, 2])
    down = (fy / z)[:, None] * (axes[:, 1] - y_near[:, None] * axes[:, 2])
    uu = (across * across).sum(dim=1) + EPS2D
    vv = (down * down).sum(dim=1) + EPS2D
    uv = (across * down).sum(dim=1)
    determinant = uu * vv - uv * uv
    valid = determinant > 0  # rounding, in extremely long Gaussians
    determinant = torch.where(valid, determinant, 1)
    centers = torch.stack([fx * x + cx, fy * y + cy], dim=1)
    conics = torch.stack([vv, -uv, uu], dim=1) / determinant[:, None]
    geometry = torch.cat([centers, opacities[:, None], conics], dim=1)
    with torch.no_grad():
        reach = _cutoff(opacities)[:, None] * torch.stack([uu, vv], dim=1).sqrt()
        bounds = _bounds(centers - reach, centers + reach, camera)
    return geometry, bounds, valid


def _project_surfels(
    means: Tensor,  # (N, 3) in the camera frame
    axes: Tensor,  # (N, 3, 3) in the camera frame
    opacities: Tensor,  # (N,)
    camera: Camera,
) -> tuple[Tensor, Tensor, Tensor]:
    """Project discs exactly (2DGS, equations 7 to 10); centres are those of gsplat.

    The centre (of the low-pass filter, equation 11) is the middle of the box around the projected
    one-sigma ellipse. Discs that reach behind the camera with one sigma are dropped.
    """
    intrinsics = torch.from_numpy(camera.intrinsics).to(means)
    to_pixels = intrinsics @ torch.cat([axes[:, :, :2], means[:, :, None]], dim=2)
    centers, _, valid = _box_of_disc(to_pixels, torch.ones_like(opacities))
    geometry = torch.cat([centers, opacities[:, None], to_pixels.flatten(1)], dim=1)
    with torch.no_grad():
        cutoff = _cutoff(opacities)
        middle, half, in_front = _box_of_disc(to_pixels, cutoff)
        half = torch.where(in_front[:, None], half, torch.inf)
        low_pass = (cutoff / 2**0.5)[:, None]
        bounds = _bounds(
            torch.minimum(middle - half, centers - low_pass),
            torch.maximum(middle + half, centers + low_pass),
            camera,
        )
    return geometry, bounds, valid


def _box_of_disc(to_pixels: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Middle (N, 2) and half size (N, 2) of the box around a disc's image; valid (N,) bool.

    The tangents to the dual conic (2DGS, appendix); valid where the disc is before the camera.
    """
    metric = torch.stack([radius**2, radius**2, -torch.ones_like(radius)], dim=1)
    u, v, w = to_pixels.unbind(dim=1)  # (N, 3) each
    distance = (metric * w * w).sum(dim=1)
    valid = distance < 0
    factor = metric / torch.where(valid, distance, -1)[:, None]
    middle = torch.stack([(factor * u * w).sum(dim=1), (factor * v * w).sum(dim=1)], dim=1)
    squares = torch.stack([(factor * u * u).sum(dim=1), (factor * v * v).sum(dim=1)], dim=1)
    return middle, (middle * middle - squares).clamp_min(0).sqrt(), valid


def _cutoff(opacities: Tensor) -> Tensor:
    """Count the sigmas after which alpha is less than 1/255 (a little more, for rounding)."""
    return (2 * (opacities / MIN_ALPHA).log()).clamp_min(0).sqrt() + 1e-3


def _bounds(lower: Tensor, upper: Tensor, camera: Camera) -> Tensor:
    """Pixels (N, 4) int32 within corners (N, 2) and the image, half open."""
    size = torch.tensor([camera.width, camera.height], dtype=lower.dtype, device=lower.device)
    zero = torch.zeros_like(size)
    first = torch.maximum(torch.minimum(lower.ceil(), size), zero)
    after = torch.maximum(torch.minimum(upper.floor() + 1, size), zero)
    return torch.cat([first, after], dim=1).to(torch.int32)
