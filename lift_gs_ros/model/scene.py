"""What is kept of an encoded cloud: all that a query needs, nothing that depends on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from lift_gs_ros.model.seeds import POSITION_CHANNELS, shifted_channels
from lift_gs_ros.splat.gaussians import Gaussians


@dataclass(frozen=True)
class SceneEncoding:
    """One encoded cloud: P points, V visual tokens, L decoder layers of width H.

    Tensors carry gradients where the encoder ran with them. Keys and values hold content only;
    the decoder adds positions, relative to what a query attends to, when it runs. The position
    channels of the mask features count from ``origin``: they hold squares, which would lose
    centimetres in float32 some hundred metres from the map's own origin.
    """

    origin: Tensor  # (3,) map frame, metres: the mean of the points
    positions: Tensor  # (P, 3) map frame, metres, in the order of the input
    features: Tensor  # (P, F) per-point features
    mask_features: Tensor  # (P, d) mask logits are their products with mask embeddings
    gaussians: Gaussians  # P of them
    token_positions: Tensor  # (V, 3) mean of each token's points, metres
    token_counts: Tensor  # (V,) float, points of each token
    token_features: Tensor  # (V, F) mean of each token's points
    token_mask_features: Tensor  # (V, d) mean of each token's points
    keys: Tensor  # (L, V, H)
    values: Tensor  # (L, V, H)

    def to(self, device: torch.device | str) -> SceneEncoding:
        """Move everything to a device."""
        return SceneEncoding(*(getattr(self, field.name).to(device) for field in fields(self)))

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lowest and highest corner (3,) of the points, greatest length () of a mask feature.

        The length is that of the learnt channels, without those of the position.
        """
        lengths = self.mask_features[:, :-POSITION_CHANNELS].norm(dim=1)
        return self.positions.amin(dim=0), self.positions.amax(dim=0), lengths.amax()

    @cached_property
    def directions(self) -> Tensor:
        """Unit vectors (V, F) of the tokens' features."""
        return functional.normalize(self.token_features, dim=1)

    @classmethod
    def concatenate(cls, encodings: Sequence[SceneEncoding]) -> SceneEncoding:
        """Join encodings of one map frame; points and tokens keep their order."""
        if not encodings:
            raise ValueError('got no encodings, expected at least one')
        if len(encodings) == 1:
            return encodings[0]
        parts = {
            field.name: [getattr(encoding, field.name) for encoding in encodings]
            for field in fields(cls)
        }
        gaussians, origins = parts.pop('gaussians'), torch.stack(parts.pop('origin'))
        joined = Gaussians(
            *(
                torch.cat([getattr(part, field.name) for part in gaussians])
                for field in fields(Gaussians)
            )
        )
        tensors = {
            name: torch.cat(values, dim=1 if name in ('keys', 'values') else 0)
            for name, values in parts.items()
        }
        origin = origins.mean(dim=0)
        for name in ('mask_features', 'token_mask_features'):
            sizes = torch.tensor([len(part) for part in parts[name]], device=origin.device)
            channels = tensors[name][:, -POSITION_CHANNELS:]
            offsets = (origins - origin).repeat_interleave(sizes, dim=0)
            tensors[name][:, -POSITION_CHANNELS:] = shifted_channels(channels, offsets)
        return cls(gaussians=joined, origin=origin, **tensors)
