"""Rendering with weights that are known beforehand: one sparse matrix times the features.

Rendering is linear in the features once each pixel's compositing weights are known. While the
Gaussians' geometry is held fixed, these weights depend on the map and the camera alone: they are
computed once per view, and a training step renders by a sparse product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor


class _SparseProduct(torch.autograd.Function):
    """``weights @ features`` with the gradient ``weights.T @ gradient``, on the CPU."""

    @staticmethod
    def forward(context, features: Tensor, weights: csr_array) -> Tensor:
        context.weights = weights
        return torch.from_numpy(weights @ features.detach().numpy())

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        transposed = context.weights.T.tocsr()
        return torch.from_numpy(transposed @ gradient.contiguous().numpy()), None


@dataclass(frozen=True)
class CompositingWeights:
    """How much each Gaussian contributes to each of R pixels."""

    matrix: csr_array  # (R, N) float32

    @property
    def alpha(self) -> Tensor:
        """Accumulated opacity of each pixel, (R,)."""
        return torch.from_numpy(np.asarray(self.matrix.sum(axis=1), dtype=np.float32))

    def render(self, features: Tensor) -> Tensor:
        """Render features (N, C) of the Gaussians to (R, C); differentiable."""
        if features.device.type == 'cpu':
            return _SparseProduct.apply(features.float(), self.matrix)
        return _torch_product(self.matrix, features)

    def select(
        self, pixels: NDArray[np.integer] | slice, points: NDArray[np.bool_]
    ) -> CompositingWeights:
        """Keep some pixels and the Gaussians of a crop (N,) bool.

        What the dropped Gaussians hid becomes no more visible: their share of a pixel is lost,
        which its alpha tells.
        """
        rows = self.matrix[pixels]
        column = np.cumsum(points) - 1
        kept = points[rows.indices]
        starts = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
        matrix = csr_array(
            (rows.data[kept], column[rows.indices[kept]].astype(np.int32), starts),
            shape=(rows.shape[0], int(points.sum())),
        )
        return CompositingWeights(matrix)


def _torch_product(matrix: csr_array, features: Tensor) -> Tensor:
    """``matrix @ features`` where the features are, in float32 also under autocast."""
    weights = torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data),
        size=matrix.shape,
        device=features.device,
    )
    with torch.autocast(features.device.type, enabled=False):
        return torch.sparse.mm(weights, features.float())
