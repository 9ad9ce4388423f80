"""Tensors that say they are on a GPU and are computed on the CPU: finds mixed devices without one.

As torch's FakeTensorMode, but with numbers in them: our models count voxels and go by the counts.
What CUDA would refuse is refused here too: tensors of two devices in one operation (but for
scalars, and the indices of ``tensor[indices]``), numpy's view of a GPU tensor, and matrix products
of integers. Only forward: torch's autograd engine asks the driver for a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
PRODUCTS = (aten.matmul, aten.dot, aten.mv, aten.mm, aten.bmm, aten.addmv, aten.addmm, aten.baddbmm)
TAKES_CPU_TOO = (aten.copy_, aten._to_copy, aten.to, aten.index, aten.index_put, aten.index_put_)


class GpuTensor(torch.Tensor):
    """Says that it is on the device 'cuda:0'; ``held`` is its content, on the CPU."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> GpuTensor:
        """Wrap a tensor of the CPU."""
        with torch.inference_mode(False):
            tensor = torch.Tensor._make_wrapper_subclass(
                cls,
                held.size(),
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device='cuda:0',
                requires_grad=held.requires_grad,
            )
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None):
        return _compute(operation, args, kwargs or {})

    def tolist(self) -> list:
        """Copy to the host, which torch does for no subclass."""
        return self.held.tolist()


class _Mode(TorchDispatchMode):
    """Sees what no argument gives away: ``torch.zeros(3, device='cuda')``."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None):
        return _compute(operation, args, kwargs or {})


def _compute(operation: Any, args: Any, kwargs: Any) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on_gpu = [tensor for tensor in tensors if isinstance(tensor, GpuTensor)]
    devices = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
    packet = operation.overloadpacket
    if (
        on_gpu
        and packet not in TAKES_CPU_TOO
        and any(tensor.dim() and not isinstance(tensor, GpuTensor) for tensor in tensors)
    ):
        raise RuntimeError(f'{operation}: expected all tensors to be on the same device')
    if on_gpu and packet in PRODUCTS and not on_gpu[0].is_floating_point():
        raise RuntimeError(f'{operation} is not implemented for {on_gpu[0].dtype} on CUDA')
    result = operation(*tree_map(_on_cpu, args), **tree_map(_on_cpu, kwargs))
    if not (devices[0].type == 'cuda' if devices else on_gpu):
        return result
    result = tree_map(lambda x: GpuTensor(x) if isinstance(x, torch.Tensor) else x, result)
    return return_and_correct_aliasing(operation, args, kwargs, result) if on_gpu else result


def _on_cpu(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device('cpu')
    return leaf.held if isinstance(leaf, GpuTensor) else leaf


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Let ``.to('cuda')`` and ``device='cuda'`` work, on a computer without a GPU as well."""
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    lazy_init, torch.cuda._lazy_init = torch.cuda._lazy_init, lambda: None
    torch._C._ensureCUDADeviceGuardSet()
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _Mode():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
        torch._C._set_only_lift_cpu_tensors(False)
        torch.cuda._lazy_init = lazy_init
