"""Sparse 3D convolution with two backends that share parameters and results.

``torch`` is written here and runs wherever torch does; ``spconv`` uses that library. The layers
of both have one parameter, ``weight (out, k, k, k, in)``, so one state dict serves both, and both
work on tensors with ``features (N, C)``, ``indices (N, 4)`` and ``replace_feature``.

How the torch backend computes (chosen by measurement on a CPU, ``benchmarks/model.py``): for each
kernel offset the rows that have a neighbour there are gathered, multiplied by that offset's matrix
and added to their outputs. A piece stays in the cache and three quarters of the time is in the
matrix product itself; gathering all offsets at once moves hundreds of megabytes and a dense
(N, 27 C) table multiplies 2.5 times more than a surface has neighbours.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lift_gs_ros.model.voxel_grid import Pairs, VoxelGrid, pack, unpack


@dataclass(frozen=True)
class SparseTensor:
    """Features on a voxel grid (the torch backend's counterpart of SparseConvTensor)."""

    features: Tensor  # (N, C)
    grid: VoxelGrid

    @property
    def indices(self) -> Tensor:
        """Voxels (N, 4): number of the cloud, x, y, z."""
        return unpack(self.grid.keys)

    def replace_feature(self, features: Tensor) -> SparseTensor:
        """Return other features on the same voxels."""
        return replace(self, features=features)


class _Convolve(torch.autograd.Function):
    """Sum over offsets of (gathered rows) x (matrix of the offset), by hand in both directions.

    Written by hand because autograd would keep every gathered piece alive until the backward.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, pairs: Pairs, num_out: int) -> Tensor:
        """Convolve features (N, in) with a kernel (K, in, out): (num_out, out)."""
        ctx.save_for_backward(features, kernel)
        ctx.pairs = pairs
        out = features.new_zeros(num_out, kernel.shape[2])
        for pair, matrix in zip(pairs, kernel):
            if pair is None:
                out.addmm_(features, matrix)
            elif len(pair[0]):
                out.index_add_(0, pair[1], features.index_select(0, pair[0]) @ matrix)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        """Return the gradients of features and kernel."""
        features, kernel = ctx.saved_tensors
        grad = grad.contiguous()
        grad_features = torch.zeros_like(features) if ctx.needs_input_grad[0] else None
        grad_kernel = torch.zeros_like(kernel)
        for pair, matrix, grad_matrix in zip(ctx.pairs, kernel, grad_kernel):
            rows_in, rows_out = pair or (None, None)
            piece_in = features if rows_in is None else features.index_select(0, rows_in)
            piece_out = grad if rows_out is None else grad.index_select(0, rows_out)
            torch.mm(piece_in.T, piece_out, out=grad_matrix)
            if grad_features is None:
                continue
            if rows_in is None:
                grad_features.addmm_(piece_out, matrix.T)
            else:
                grad_features.index_add_(0, rows_in, piece_out @ matrix.T)
        return grad_features, grad_kernel, None, None


class _Layer(nn.Module):
    """The weight of a convolution, ``(out, k, k, k, in)`` as in spconv."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(channels_out, *[kernel] * 3, channels_in))
        _initialise(self.weight)

    def convolve(self, features: Tensor, pairs: Pairs, num_out: int) -> Tensor:
        matrices = self.weight.flatten(1, 3).permute(1, 2, 0).contiguous()  # (K, in, out)
        # Sums over up to 27 neighbours are kept in float32, also under autocast.
        with torch.autocast(features.device.type, enabled=False):
            return _Convolve.apply(features.float(), matrices, pairs, num_out)


def _initialise(weight: Tensor) -> None:
    """Draw a weight (out, k, k, k, in) for voxels of surfaces, which have some k^2 neighbours."""
    nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[-1] * weight.shape[1] ** 2))


class SubmanifoldConv(_Layer):
    """Convolution whose output lives on the input's voxels (Graham et al. 2018)."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve on the same grid."""
        pairs = x.grid.neighbours(self.kernel)
        return x.replace_feature(self.convolve(x.features, pairs, len(x.features)))


class DownConv(_Layer):
    """Convolution of kernel 2 and stride 2: to voxels of twice the size."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve to the coarser grid."""
        grid = x.grid.coarser
        return SparseTensor(self.convolve(x.features, grid.children(), len(grid.keys)), grid)


class UpConv(_Layer):
    """Transposed convolution that undoes a ``DownConv``: back to exactly its input's voxels."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Convolve to the finer grid."""
        grid = x.grid.finer
        if grid is None:
            raise ValueError('UpConv got a tensor of the finest grid, expected a DownConv output')
        pairs: Pairs = [pair and (pair[1], pair[0]) for pair in x.grid.children()]
        return SparseTensor(self.convolve(x.features, pairs, len(grid.keys)), grid)


@dataclass(frozen=True)
class Backend:
    """How to build tensors and layers; ``level`` counts halvings of the resolution."""

    name: str
    tensor: Callable[[Tensor, Tensor, int], Any]  # features, sorted indices (N, 4), clouds
    submanifold: Callable[[int, int, int, int], nn.Module]  # in, out, kernel, level
    down: Callable[[int, int, int], nn.Module]  # in, out, level of the output
    up: Callable[[int, int, int], nn.Module]  # in, out, level of the input


def load_backend(name: str = 'auto') -> Backend:
    """Return the backend ``torch``, ``spconv`` or ``auto``.

    ``auto`` takes spconv where it is installed and a CUDA device is present. On a CPU spconv needs
    7 to 20 % less time on one core (``benchmarks/model.py``), but seconds to import and a patch to
    run backwards, so the torch backend is the default there.
    """
    if name not in ('auto', 'torch', 'spconv'):
        raise ValueError(f'sparse backend is {name!r}, expected "auto", "torch" or "spconv"')
    installed = importlib.util.find_spec('spconv') is not None
    if name == 'spconv' and not installed:
        raise ImportError(
            'the sparse backend "spconv" is not installed: install the wheel spconv-cu120 '
            '(Python up to 3.11) or spconv-cu126 (3.12, 3.13), or use the backend "torch"'
        )
    if name == 'spconv' or (name == 'auto' and installed and torch.cuda.is_available()):
        return _spconv_backend()
    return Backend(
        name='torch',
        tensor=lambda features, indices, clouds: SparseTensor(features, VoxelGrid(pack(indices))),
        submanifold=lambda i, o, kernel, level: SubmanifoldConv(i, o, kernel),
        down=lambda i, o, level: DownConv(i, o, 2),
        up=lambda i, o, level: UpConv(i, o, 2),
    )


def _spconv_backend() -> Backend:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # spconv 2.3 uses torch.cuda.amp's old names
        import spconv.pytorch as spconv
        import spconv.pytorch.ops as ops
    if not torch.cuda.is_available():
        # Its CPU backward asks for a CUDA stream, which it then does not use.
        ops.get_current_stream = lambda: 0
    layers = spconv.SubMConv3d, spconv.SparseConv3d, spconv.SparseInverseConv3d
    same, halving, doubling = (_where_its_input_is(layer, spconv.ConvAlgo) for layer in layers)

    def tensor(features: Tensor, indices: Tensor, clouds: int) -> Any:
        # Stride-2 layers drop an odd last voxel: the grid's size must halve evenly four times.
        extent = [(int(high) // 16 + 1) * 16 for high in indices[:, 1:].amax(dim=0)]
        return spconv.SparseConvTensor(features, indices.int(), extent, clouds)

    def submanifold(i: int, o: int, kernel: int, level: int) -> nn.Module:
        return same(i, o, kernel, bias=False, indice_key=f'same{level}_{kernel}')

    def down(i: int, o: int, level: int) -> nn.Module:
        return halving(i, o, 2, stride=2, bias=False, indice_key=f'down{level}')

    def up(i: int, o: int, level: int) -> nn.Module:
        return doubling(i, o, 2, bias=False, indice_key=f'down{level}')

    return Backend('spconv', tensor, submanifold, down, up)


def _where_its_input_is(layer: Any, algorithms: Any) -> Any:
    """Let a layer of spconv follow its input to any device, in float32 as the torch backend is.

    By itself it keeps the algorithm that it was made with, of which a CPU has only one, launches
    its kernels on the current GPU, and computes in float16 under any autocast, where gradients
    vanish.
    """

    class Layer(layer):
        algo: Any

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.algo_on_gpu = self.algo  # spconv's choice

        def reset_parameters(self) -> None:  # a seed means the same network with both backends
            _initialise(self.weight)

        def forward(self, x: Any) -> Any:
            features = x.features.float()
            self.algo = self.algo_on_gpu if features.is_cuda else algorithms.Native
            no_autocast = torch.autocast(features.device.type, enabled=False)
            with no_autocast, torch.cuda.device_of(features):
                return super().forward(x.replace_feature(features))

    return Layer
