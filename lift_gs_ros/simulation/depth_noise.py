"""What a structured-light or stereo depth camera makes of true depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Disparity steps of a Kinect-like sensor: depth z comes in steps of z^2 / _DISPARITY metres
# (2.85 mm at 1 m; Smisek et al. 2011 measured 2.73 z^2 mm).
_DISPARITY = 350.0


@dataclass(frozen=True)
class DepthNoise:
    """A depth sensor's errors; ``scale`` 0 gives true depth without dropouts."""

    scale: float = 1.0  # factor on the axial noise
    min_range: float = 0.3  # metres; nothing nearer is measured
    max_range: float = 6.0  # metres
    speckle: float = 0.002  # share of pixels lost for no reason
    grazing_angle: float = 1.40  # radians from the normal where half of the pixels are lost

    def apply(
        self,
        depth: NDArray[np.float32],
        cos_incidence: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Turn true depth (H, W) (inf where nothing is) into measured depth, 0 where unknown.

        ``cos_incidence`` (H, W) is the cosine between ray and normal. Axial noise: sigma(z) =
        0.0012 + 0.0019 (z - 0.4)^2 m (Nguyen et al. 2012, equation 3); z in disparity steps and
        whole millimetres; pixels at grazing angles and on the far side of depth edges drop out.
        """
        depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
        if self.scale == 0:
            return depth
        sigma = self.scale * (0.0012 + 0.0019 * (depth - 0.4) ** 2)
        measured = depth + sigma * rng.standard_normal(depth.shape, dtype=np.float32)
        with np.errstate(divide='ignore', invalid='ignore'):
            measured = _DISPARITY / np.round(_DISPARITY / measured)
        measured = np.round(measured * 1000) * np.float32(1e-3)
        lost = (depth < self.min_range) | (measured > self.max_range) | ~np.isfinite(measured)
        lost |= self._dropouts(depth, cos_incidence, rng)
        measured[lost] = 0
        return measured.astype(np.float32)

    def _dropouts(
        self,
        depth: NDArray[np.float32],
        cos_incidence: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> NDArray[np.bool_]:
        chance = rng.random(depth.shape, dtype=np.float32)
        angle = np.arccos(np.clip(cos_incidence, 0, 1))
        # Logistic in the angle, 10% to 90% over about 7 degrees.
        grazing = 1 / (1 + np.exp((self.grazing_angle - angle) / 0.028))
        nearest = depth.copy()
        nearest[:, 1:] = np.minimum(nearest[:, 1:], depth[:, :-1])
        nearest[:, :-1] = np.minimum(nearest[:, :-1], depth[:, 1:])
        nearest[1:] = np.minimum(nearest[1:], depth[:-1])
        nearest[:-1] = np.minimum(nearest[:-1], depth[1:])
        # The far side of an edge lies in the shadow of the projector or of the other lens.
        shadowed = (depth - nearest > 0.03 + 0.02 * nearest) * np.float32(0.6)
        return chance < np.maximum(np.maximum(grazing, shadowed), np.float32(self.speckle))
