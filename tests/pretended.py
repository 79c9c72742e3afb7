"""Graphics cards for machines without one: ``with pretended() as card: x.to(card)``.

Within `pretended`, "cuda" is there. What is sent to it computes on the CPU, says that it lies on ``cuda:0``, and
refuses what a card refuses: a tensor of the CPU or of another card beside it, NumPy, a generator of the CPU.

A test that must hold on any card takes the fixture `device` of `tests/conftest.py`: it is run on a pretended card, and
once more on a real one where there is one. A test that only a real card can pass is marked ``@pytest.mark.gpu``, and
``pytest -m gpu`` runs those tests and the second runs of the others.

How: torch is told that the tensors lie on ``meta:0``, a device that is always there, and every ``cuda:N`` in a call
becomes ``meta:N``. So `to`, factories and modules take their own ways through torch, and end in `Away`, which holds the
numbers. So no test may use the meta device itself.

What it does not tell: speed, memory, half precision, the order of sums, streams, and what other threads do ("cuda" is
there for the thread that entered).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
SHAPES = {
    *(torch.ops.aten.sym_size.default, torch.ops.aten.sym_stride.default, torch.ops.aten.sym_numel.default),
    *(torch.ops.aten.dim.default, torch.ops.aten.is_contiguous.default, torch.ops.aten.sym_storage_offset.default),
}
CROSSING = {"aten::_to_copy", "aten::copy_", "aten::_has_compatible_shallow_copy_type"}
NO_NUMBERS = {"aten::nextafter"}  # whose kernels on a card take no number from the CPU
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
SILENT = ("init", "_lazy_init", "set_device", "synchronize", "empty_cache", "manual_seed", "manual_seed_all")
SILENT += ("set_rng_state", "set_rng_state_all")
FROM_PYTHON = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}  # on meta they would drop the numbers


@contextmanager
def pretended(cards: int = 1) -> Iterator[torch.device]:
    """So many cards, cuda:0, cuda:1 …; gives the first."""
    answers = {
        "is_available": True,
        "is_initialized": True,
        "is_bf16_supported": True,
        "device_count": cards,
        "current_device": 0,
        "get_device_name": "pretended",
        "get_device_capability": (9, 0),
        "get_rng_state": torch.zeros(16, dtype=torch.uint8),
        "get_rng_state_all": [],
        "_is_in_bad_fork": False,
        "mem_get_info": (1 << 30, 1 << 31),
    } | dict.fromkeys(SILENT)
    stubs: dict[str, Any] = {name: mock.Mock(return_value=answer) for name, answer in answers.items()}
    stubs["default_generators"] = tuple(torch.Generator() for _ in range(cards))  # numbers are drawn from the CPU's
    stubs |= {"Stream": mock.Mock(), "current_stream": mock.Mock(), "stream": nullcontext}
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # a moved parameter is the same object, as on a card
    try:
        with mock.patch.multiple(torch.cuda, **stubs), _Factories(), _Renamed():
            yield torch.device("cuda", 0)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapped)


class Away(Tensor):
    """A tensor on a pretended card; `here` are its numbers."""

    here: Tensor
    card: int

    @staticmethod
    def __new__(cls, here: Tensor, card: int) -> Away:
        made: Away = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            dtype=here.dtype,
            device=torch.device("meta", card),
            dispatch_sizes_strides_policy="sizes",  # asks `here`, whose shape `resize_` may change
        )
        made.here, made.card = here.detach(), card
        return made

    device = property(lambda self: torch.device("cuda", self.card))
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def get_device(self) -> int:
        return self.card

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.here.__reduce_ex__(protocol)  # in a file it is what `map_location="cpu"` reads

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.here.untyped_storage()

    def data_ptr(self) -> int:
        return self.here.data_ptr()

    def record_stream(self, stream: Any) -> None:
        """Nothing: there is one stream."""

    def tolist(self) -> Any:
        return self.here.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def __repr__(self, **_: Any) -> str:
        return f"Away({self.here}, card={self.card})"

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if len(args) == 1 and not kwargs and op in SHAPES:
            return op(args[0].here)
        kwargs, given = kwargs or {}, []
        _mapped(given.append, (args, tuple(kwargs.values())))
        cards = [t.card for t in given if isinstance(t, Away)]
        goal = torch.device(kwargs["device"]) if kwargs.get("device") is not None else torch.device("meta", cards[0])
        name = op._schema.name
        if name not in CROSSING:
            beside = [args[0], *args[2:3]] if name in INDEXING else given  # indices may come from the CPU
            _check_neighbours(name, [t for t in beside if isinstance(t, Tensor)], cards)
        return _computed(op, args, kwargs, given, goal)


class _Factories(TorchDispatchMode):
    """What torch makes or copies on a card of tensors that do not lie there."""

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        goal = torch.device(kwargs.get("device") or CPU)
        if goal.type != "meta" or any(issubclass(kind, Away) for kind in types):
            return op(*args, **kwargs)
        return _computed(op, args, kwargs, [], goal)


class _Renamed(TorchFunctionMode):
    """Says meta:N where a caller says cuda:N."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.cuda:
            return args[0].to(_renamed(kwargs.get("device", args[1] if len(args) > 1 else "cuda")))
        if func is Tensor.pin_memory:
            return args[0]
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], Away):
            args = (args[0], _listed(args[1]), *args[2:])
        if func in FROM_PYTHON:
            goal = kwargs.pop("device", args[0].device if func is Tensor.new_tensor else None)
            made = func(*args, **kwargs, **({} if goal is None else {"device": CPU}))
            return made if goal is None else made.to(_renamed(goal))
        if func is Tensor.to:
            return func(*map(_renamed, args), **{name: _renamed(value) for name, value in kwargs.items()})
        if kwargs.get("device") is not None:
            kwargs["device"] = _renamed(kwargs["device"])
            if kwargs["device"] == torch.device("meta", 0):
                kwargs.pop("pin_memory", None)
        return func(*args, **kwargs)


def _computed(op: Any, args: Any, kwargs: dict[str, Any], given: list[Tensor], goal: torch.device) -> Any:
    """What `op` makes on the CPU, sent to `goal`; a tensor that was given comes back as it came."""
    generator = kwargs.get("generator")
    if goal.type == "meta" and generator is not None:
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found '{generator.device.type}'")
    if kwargs.get("device") is not None:
        kwargs = kwargs | {"device": CPU}
    known = {id(_numbers(t)): t for t in given}
    made = op(*_mapped(_numbers, args), **{name: _mapped(_numbers, value) for name, value in kwargs.items()})
    if goal.type == "meta":
        return _mapped(lambda t: known[id(t)] if id(t) in known else Away(t, goal.index or 0), made)
    return made


def _mapped(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """Tuples and lists with `change` of their tensors."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple | list):
        return type(tree)([_mapped(change, part) for part in tree])
    return tree


def _check_neighbours(name: str, tensors: list[Tensor], cards: list[int]) -> None:
    alone = name in NO_NUMBERS  # elsewhere a number from the CPU may come
    strangers = [t.device for t in tensors if not isinstance(t, Away) and (alone or t.dim())]
    places = {str(torch.device("cuda", card)) for card in cards} | set(map(str, strangers))
    if len(places) > 1:
        both = " and ".join(sorted(places, reverse=True))
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two: {both}! (in {name})"
        )


def _numbers(tensor: Tensor) -> Tensor:
    return tensor.here if isinstance(tensor, Away) else tensor


def _renamed(value: Any) -> Any:
    if isinstance(value, str | torch.device) and torch.device(value).type == "cuda":
        return torch.device("meta", torch.device(value).index or 0)
    return value


def _listed(index: Any) -> Any:
    """An index whose lists are tensors."""
    if isinstance(index, tuple):
        return tuple(map(_listed, index))
    return torch.tensor(index) if isinstance(index, list) else index
