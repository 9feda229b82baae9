"""A CUDA device without a GPU: shapes, types and devices are tracked, and nothing is computed on it.

torch's FakeTensorMode refuses operations that mix its tensors with those of the CPU, as a GPU does. Work on the CPU is
done. A read of the device has no value to give; it returns a plausible one, and is recorded as a wait.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from itertools import count

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda:0")
aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.equal.default}
SIZED_BY_VALUES = {aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.bincount.default}
YES = {"core.image_range:check_finite"}
"""The functions that depend on a truth value read from the device."""
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}


class FakeCuda(TorchDispatchMode):
    """Counts, by the function of genmods that asks, the operations for which the CPU waits for the device: reads of a
    value, results whose size depends on values, and copies between both (from pageable memory, which block as well)."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.waits: Counter[str] = Counter()
        self.counting = False
        self.moved: dict[int, tuple[torch.UntypedStorage, torch.Tensor]] = {}
        self.falling = (1 / k for k in count(2))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        fakes = [leaf for leaf in leaves if isinstance(leaf, FakeTensor)]
        asked = any(isinstance(leaf, torch.device) and leaf.type == "cuda" for leaf in leaves)
        if not fakes and not asked:
            with no_dispatch():
                return func(*args, **kwargs)
        if func in READS:
            self.note("read")
            return self.value(args[0])
        if func in SIZED_BY_VALUES or (func in INDEXING and masks(args[1])):
            self.note("size by values")
            return self.sized(func, args, kwargs)
        if func in INDEXING:
            self.index(args)
        elif func in (aten._to_copy.default, aten.copy_.default):
            return self.copied(func, args, kwargs)
        return func(*args, **kwargs)

    def copied(self, func, args, kwargs):
        """A copy; one to the CPU has the values of what was copied to the device, or those of `host`."""
        new = func is aten._to_copy.default
        source, target = (args[0], kwargs.get("device")) if new else (args[1], args[0].device)
        if isinstance(source, FakeTensor) and target is not None and target.type == "cpu":
            self.note("to the CPU")
            return self.host(source, kwargs.get("dtype")) if new else args[0]
        out = func(*args, **kwargs)
        if not isinstance(source, FakeTensor) and (new or source.dim()):
            self.note("to the device")
            storage = out.untyped_storage()
            self.moved[storage._cdata] = storage, source
        return out

    def value(self, tensor):
        """What a read returns: 1, numbers that fall, or the answer of `YES` to the function that asks."""
        if tensor.dtype is torch.bool:
            return asker() in YES
        return next(self.falling) if tensor.is_floating_point() else 1

    def host(self, tensor, dtype=None):
        """A tensor of the CPU in the place of one of the device: what was moved there; or halves, ones, False."""
        moved = self.moved.get(tensor.untyped_storage()._cdata, (None, None))[1]
        with no_dispatch():
            if moved is not None and moved.shape == tensor.shape:
                return moved.detach().to(dtype or tensor.dtype)
            filled = torch.full(tensor.shape, tensor.dtype is not torch.bool, dtype=tensor.dtype)
            return (filled / 2 if tensor.is_floating_point() else filled).to(dtype or tensor.dtype)

    def sized(self, func, args, kwargs):
        """The result at the size that it has for the values of `host`, on the device."""
        given = tree_map(lambda x: self.host(x) if isinstance(x, FakeTensor) else x, (args, kwargs))
        with no_dispatch():
            out = func(*given[0], **given[1])
        return tree_map(lambda x: torch.empty(x.shape, dtype=x.dtype, device=CUDA), out)

    def index(self, args) -> None:
        """An index on the CPU is copied to the device; one on the device cannot index a tensor of the CPU."""
        indices = [index for index in args[1] if index is not None]
        if not isinstance(args[0], FakeTensor):
            raise RuntimeError(f"a tensor {list(args[0].shape)} of the CPU is indexed by one of the device")
        if any(not isinstance(index, FakeTensor) for index in indices):
            self.note("to the device")

    def note(self, what: str) -> None:
        if self.counting:
            self.waits[f"{asker()}: {what}"] += 1


def masks(indices) -> bool:
    return any(isinstance(index, FakeTensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def asker() -> str:
    """The innermost function of genmods that is being called, as `module:function`."""
    frame = sys._getframe(1)
    while frame and not frame.f_globals.get("__name__", "").startswith("genmods."):
        frame = frame.f_back
    if not frame:
        return "?"
    function = frame.f_code.co_qualname.partition(".<locals>")[0]
    return f"{frame.f_globals['__name__'].removeprefix('genmods.')}:{function}"


@contextmanager
def counted(mode: FakeCuda):
    """Waits within the block are counted; moving a model to the device before it is not."""
    mode.counting = True
    try:
        yield mode.waits
    finally:
        mode.counting = False


@contextmanager
def fake_cuda():
    """The device, while it is there."""
    mode = FakeCuda()
    with mode.fake, mode:
        yield mode
