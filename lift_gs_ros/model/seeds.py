"""Where proposals begin: at places of the scene that look like the query's words.

Learnt proposals alone have to find objects by attention over a whole room, which takes long to
learn and depends on the room's size. So every proposal begins at a place of its own, with that
place's content, as in Mask3D (Schult et al. 2023; there places are sampled evenly) and with the
places chosen by language as in Grounding DINO (Liu et al. 2023).

A proposal's mask is also told to stay near its place: a term that falls with the squared distance
is added to its logits. It is linear in ``position_channels``, so that masks remain products of
(rendered) mask features and mask embeddings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

POSITION_CHANNELS = 5
SPACING = 0.3  # metres between seeds, as far as there are places enough
REACH = 1.0  # metres around its seed that a proposal reads first
RADIUS = 1.0  # metres at which a mask's logits have fallen by 1/2, before anything is learnt
RADII = (0.1, 3.0)  # metres, bounds of what is learnt: no thing is larger


def position_channels(positions: Tensor) -> Tensor:
    """Channels (..., 5) of positions (..., 3): the last ones of all mask features."""
    square = positions.square().sum(dim=-1, keepdim=True)
    return torch.cat([positions, square, torch.ones_like(square)], dim=-1)


def shifted_channels(channels: Tensor, offsets: Tensor) -> Tensor:
    """Position channels (..., 5), or means of some, of positions moved by offsets (..., 3)."""
    positions, square, one = channels.split([3, 1, 1], dim=-1)
    square = square + (offsets * (2 * positions + offsets)).sum(dim=-1, keepdim=True)
    return torch.cat([positions + offsets, square, one], dim=-1)


def choose_seeds(similarity: Tensor, positions: Tensor, count: int) -> Tensor:
    """Choose ``count`` places (V,) by similarity, best first, ``SPACING`` apart: indices (count,).

    Where places run out, the rest are chosen again without regard to the spacing. A batch of
    similarities (B, V) and positions (B, V, 3) gives indices (B, count).
    """
    free = similarity.detach().clone()
    chosen = []
    for _ in range(count):
        best = free.argmax(dim=-1, keepdim=True)
        chosen.append(best)
        place = positions.take_along_dim(best[..., None], dim=-2)
        near = (positions - place).square().sum(dim=-1) < SPACING**2
        free = torch.where(near, free - 10, free)  # cosines differ by at most 2
        free.scatter_add_(-1, best, torch.full_like(free[..., :1], -10))
    return torch.cat(chosen, dim=-1)


def resemblance(cosines: Tensor) -> Tensor:
    """Say how much each place is like a sentence, from cosines (V, T) with its words: (V,)."""
    if not cosines.shape[1]:
        return cosines.new_zeros(len(cosines))
    # Any word, for a sentence with several things; all words, for "the" resembles much.
    return (cosines.amax(dim=1) + cosines.mean(dim=1)) / 2


class Seeds(nn.Module):
    """Gives proposals their places: content to begin with, and a mask that stays near."""

    def __init__(self, token_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.content = nn.Linear(token_dim, hidden_dim)
        self.placement = nn.Linear(hidden_dim, 4)  # offset in metres, logarithm of the radius
        nn.init.zeros_(self.placement.weight)
        nn.init.zeros_(self.placement.bias)

    def forward(
        self,
        features: Tensor,  # (V, F) of the visual tokens
        text_features: Tensor,  # (T, F)
        positions: Tensor,  # (V, 3) metres
        count: int,
    ) -> tuple[Tensor, Tensor]:
        """Return the content (count, H) of the seeds and their places: indices (count,)."""
        text = functional.normalize(text_features, dim=1)
        similarity = resemblance(functional.normalize(features, dim=1) @ text.T)
        places = choose_seeds(similarity, positions, count)
        return self.content(features[places]), places

    def nearness(self, proposals: Tensor, seeds: Tensor) -> Tensor:
        """Embeddings (m, 5) for ``position_channels``: logits ``-|x - center|^2 / (2 radius^2)``.

        proposals: (m, H); seeds: (m, 3), the places where they began, metres, from the same origin
        as the positions of the channels.
        """
        offset, growth = self.placement(proposals).float().split([3, 1], dim=1)
        bounds = [math.log(bound / RADIUS) for bound in RADII]
        radius = RADIUS * growth.clamp(*bounds).exp()
        center = seeds + offset
        parts = [2 * center, -torch.ones_like(growth), -center.square().sum(dim=1, keepdim=True)]
        return torch.cat(parts, dim=1) / (2 * radius**2)
