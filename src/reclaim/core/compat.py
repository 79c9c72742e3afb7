"""Private names of dependencies, in one place, each with what to do when it goes.

A new version of a dependency may drop any of them; nothing else of this package imports a name that starts with an
underscore. What only some callers have installed or need is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

if TYPE_CHECKING:
    from accelerate import PartialState

__all__ = [
    "as_unprepared",
    "is_traced",
    "leaves",
    "map_leaves",
    "outside_tracing",
    "process_on",
    "reset_accelerator",
    "rows_for",
    "single_precision",
    "tensor_without_values",
]


def is_traced(value: Any) -> bool:
    """Whether a value stands for one that is not known while torch.export traces a graph.

    When it goes: `torch.compiler.is_exporting()` (torch 2.7) tells that a graph is traced, though not by which tensors.
    """
    return isinstance(value, FakeTensor | torch.SymInt)


def outside_tracing() -> AbstractContextManager[Any]:
    """Within it, torch computes at once, whatever is being traced.

    When it goes: compute the constant before tracing begins, and hand it to the module as a buffer.
    """
    modes: AbstractContextManager[Any] = _disable_current_modes()
    return modes


def leaves(tree: Any) -> list[Any]:
    """What lies in nested tuples, lists and mappings, in order.

    When it goes: the package `optree` has it, or ten lines of recursion over tuples, lists and mappings.
    """
    return tree_leaves(tree)


def map_leaves(kind: type, change: Callable[[Any], Any], tree: Any) -> Any:
    """The same tuples, lists and mappings with `change` of every leaf of one kind.

    When it goes: as for `leaves`.
    """
    return tree_map_only(kind, change, tree)


def tensor_without_values(kind: type, shape: Sequence[int], dtype: torch.dtype) -> Any:
    """A tensor of a subclass that has a shape and a type, and answers through its `__torch_dispatch__` alone.

    When it goes: torch's notes on extending it name its successor; there is no public way to date.
    """
    return Tensor._make_wrapper_subclass(kind, tuple(shape), dtype=dtype)


def process_on(device: torch.device) -> PartialState:
    """Accelerate's state of a process that is alone, on exactly this device, whichever an earlier one was.

    When it goes: every run of a process has the device of its first, and another one is refused with a message.
    """
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import patch_environment

    with patch_environment(accelerate_torch_device=str(device)):
        state = PartialState(cpu=device.type == "cpu")
        if state.num_processes == 1 and state.device != device:
            AcceleratorState._reset_state(reset_partial_state=True)
            state = PartialState(cpu=device.type == "cpu")
    return state


def reset_accelerator() -> None:
    """Forget the precision that an earlier Accelerator of this process settled on.

    When it goes: every fit of a process has the precision of its first, and another one is refused with a message.
    """
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()


@contextmanager
def single_precision(kind: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Within it, products and convolutions of float32 on a GPU are computed in that; torch's switches return.

    When it goes: torch 2.9 gave each kind of operation a switch of its own, and the older ones, of torch 2.6, may not
    be read once a newer one was set.
    """
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    newer = "conv" in vars(type(cudnn)) or "conv" in vars(cudnn)
    switches, name = ((cudnn.conv, matmul), "fp32_precision") if newer else ((cudnn, matmul), "allow_tf32")
    before = [getattr(switch, name) for switch in switches]
    for switch in switches:
        setattr(switch, name, kind if newer else kind == "tf32")
    try:
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            setattr(switch, name, was)


@contextmanager
def as_unprepared(net: nn.Module) -> Iterator[None]:
    """A network that Accelerate prepares within it is an ordinary one again afterwards.

    Accelerate leaves a forward method in mixed precision on the network, and a mark by which the next Accelerator would
    take it as prepared, whatever its own precision is.
    When it goes: `Accelerator.unwrap_model` restores the forward method; the mark would be no longer there.
    """
    marks = ("forward", "_original_forward", "_is_accelerate_prepared")
    before = {name: vars(net)[name] for name in marks if name in vars(net)}
    try:
        yield
    finally:
        for name in marks:
            vars(net).pop(name, None)
        vars(net).update(before)


def rows_for(estimator: Any, X: Any, y: Any, rows: Any, columns: Any = None) -> tuple[Any, Any]:
    """Rows of X and y for a scikit-learn estimator; of a square X, for one that takes kernels, also its columns.

    When it goes: ``X[rows]`` of arrays, ``X.iloc[rows]`` of data frames, and ``X[np.ix_(rows, columns)]`` where
    ``get_tags(estimator).input_tags.pairwise``.
    """
    from sklearn.utils.metaestimators import _safe_split

    split: tuple[Any, Any] = _safe_split(estimator, X, y, rows, columns)
    return split
