"""A device without float64 that computes on the CPU: a stand-in for Apple's GPUs.

Its tensors have the device `lazy`, for which torch's autograd needs no driver. Within `device()`, an
operation that would make float64 on it raises TypeError, as torch does for `mps`, and one that mixes its tensors with
those of the CPU raises RuntimeError.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "lazy"
WIDE = (torch.float64, torch.complex128)
CROSSING = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
"""What may take tensors of both devices."""
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten._index_put_impl_.default}
"""What may take indices of the CPU."""


class OnDevice(torch.Tensor):
    """A tensor of the device; `inner` holds its numbers on the CPU."""

    @staticmethod
    def __new__(cls, inner):
        if inner.dtype in WIDE:
            raise TypeError(f"{inner.dtype} on a device without float64")
        shape = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        self = torch.Tensor._make_wrapper_subclass(cls, inner.shape, **shape, dtype=inner.dtype, device=NAME)
        self.inner = inner
        return self

    def __repr__(self):
        return f"OnDevice({self.inner})"

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return carried_out(func, args, kwargs or {})


class Device(TorchDispatchMode):
    """Makes tensors on the device where a factory function is asked to."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return carried_out(func, args, kwargs or {})


@contextmanager
def device():
    """The device, while it is there."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(...) makes its tensor on the CPU and moves it
    try:
        with Device():
            yield torch.device(NAME)
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def carried_out(func, args, kwargs):
    """The operation on the CPU, its results on the device where its arguments are or it is asked to make them."""
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [tensor for tensor in given if isinstance(tensor, OnDevice)]
    target = kwargs.get("device")
    target = None if target is None else torch.device(target).type
    if not here and target != NAME:
        return func(*args, **kwargs)
    if here and func not in CROSSING:
        refuse_mixed(func, args if func in INDEXED else (args, kwargs), given)
    out = func(*tree_map(inner, args), **tree_map(inner, kwargs))
    if target == "cpu":
        return out
    if func is torch.ops.aten.copy_.default and not isinstance(args[0], OnDevice):
        return args[0]
    known = {id(tensor.inner): tensor for tensor in here}  # an operation in place returns its argument
    return tree_map(lambda x: known[id(x)] if id(x) in known else placed(x), out)


def placed(x):
    return OnDevice(x) if isinstance(x, torch.Tensor) else x


def refuse_mixed(func, args, given):
    """Raises RuntimeError where tensors of the CPU, but for numbers and allowed indices, meet those of the device."""
    indices = tree_leaves(args[1]) if isinstance(args, tuple) and func in INDEXED else []
    for tensor in given:
        if not isinstance(tensor, OnDevice) and tensor.dim() and not any(tensor is index for index in indices):
            raise RuntimeError(f"{func} takes a tensor {list(tensor.shape)} of the CPU and one of {NAME}")


def inner(leaf):
    if isinstance(leaf, OnDevice):
        return leaf.inner
    return torch.device("cpu") if isinstance(leaf, torch.device) and leaf.type == NAME else leaf
