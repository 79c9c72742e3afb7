"""Modules as ONNX files, compared with the module before they get their name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.core.files import atomic_file
from reclaim.models.forward import run

__all__ = ["TOLERANCE", "check_extra", "save_onnx"]

TOLERANCE = 1e-4  # of the largest number of a row, or of 1 where that is larger
_MOST = 2**31 - 2**24  # bytes: an ONNX file cannot be larger


def check_extra() -> None:
    """Raise if the extra is not installed."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        require(name, extra="onnx")


@torch.no_grad()
def save_onnx(
    path: Path,
    module: nn.Module,
    rows: Tensor,
    names: Sequence[str],
    about: Mapping[str, str],
    *,
    agreeing: float = 1.0,
) -> float:
    """Write a module as one ONNX file.

    Args:
        rows: inputs [N, …] to trace it with and to compare the answers of; the file takes any number of rows.
        names: of the input and of the outputs.
        about: the file's metadata.
        agreeing: the share of rows that must agree with the module. A calibrator with steps behind a network takes a
            rounding error of the network for another step here and there.

    Returns: the largest difference between the file's answers and the module's, as a share of the row's largest number,
        or of 1 where that is larger.

    Raises: BadInput if the extra is missing, the module cannot be traced, or its answers differ by more than TOLERANCE.
    """
    check_extra()
    if sum(part.nbytes for part in module.state_dict().values()) > _MOST:
        raise BadInput("an ONNX file holds at most 2 GB; this network is larger.")
    program = _program(module.eval(), rows, list(names))
    program.model.metadata_props.update(about)
    with atomic_file(path) as temporary:
        program.save(temporary, external_data=False)
        away = _difference(module, temporary, rows)
        if float((away <= TOLERANCE).double().mean()) < agreeing:
            raise BadInput(
                f"the graph answers otherwise than the network: by {float(away.max()):.1e}, where {TOLERANCE:.0e} is "
                f"allowed. {path} was not written."
            )
    return float(away.max())


def _program(module: nn.Module, rows: Tensor, names: list[str]) -> Any:
    """The module as torch's ONNX program."""
    run(module, rows)  # what it cannot take, it refuses in its own words, and not in those of the tracing
    try:
        with _silence():
            shapes = ({0: torch.export.Dim("rows")},)
            graph = torch.export.export(module, (rows,), dynamic_shapes=shapes, strict=False)
            program: Any = torch.onnx.export(
                graph,
                input_names=names[:1],
                output_names=names[1:],
                dynamic_shapes=shapes,
                dynamo=True,
                optimize=False,  # it would take 1.00001 for 1 and 1e-8 for 0
                verbose=False,
                custom_translation_table=_translations(),
            )
            optimizer = require("onnxscript.optimizer", extra="onnx")
            optimizer.fold_constants(program.model)
            optimizer.remove_unused_nodes(program.model)
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()  # stack traces, with the paths of this machine
            return program
    except RuntimeError as error:
        raise BadInput(f"this network cannot be written as a graph: {str(error).splitlines()[0]}") from error


def _difference(module: nn.Module, path: Path, rows: Tensor) -> Tensor:
    """How far the file's answers are from the module's, for each row; the first one is asked once more by itself."""
    session = require("onnxruntime", extra="onnx").InferenceSession(path, providers=["CPUExecutionProvider"])
    away = []
    for given in (rows, rows[:1]):
        found = map(torch.from_numpy, session.run(None, {session.get_inputs()[0].name: given.numpy()}))
        made = module(given)
        pairs = zip(found, (made,) if isinstance(made, Tensor) else made, strict=True)
        apart = [(a - b).abs().amax(dim=1) / b.abs().amax(dim=1).clamp_min(1) for a, b in pairs]
        away.append(torch.stack(apart).amax(dim=0))
    return torch.cat(away).nan_to_num(torch.inf)


@contextmanager
def _silence() -> Iterator[None]:
    """Say nothing of what torch's exporter deprecates in itself."""
    log = logging.getLogger("onnx_ir")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        log.setLevel(level)


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What torch's exporter lacks: numbers beside float64 in their full precision, and operators it does not know."""
    op, ir = require("onnxscript", extra="onnx").opset18, require("onnxscript.ir", extra="onnx")

    def number(value: float, like: Any = None) -> Any:
        made = op.Constant(value=ir.tensor(np.array(value, dtype=np.float64)))
        return made if like is None else op.CastLike(made, like)

    def scalar_tensor(s: float, dtype: int = 1) -> Any:
        return op.Cast(number(s), to=dtype)

    def clamp(self: Any, min: float | None = None, max: float | None = None) -> Any:
        self = self if min is None else op.Max(self, number(min, self))
        return self if max is None else op.Min(self, number(max, self))

    def clamp_min(self: Any, min: float) -> Any:
        return clamp(self, min)

    def sigmoid(self: Any) -> Any:  # onnxruntime takes 1 - 1 / (1 + exp(x)), whose small values are noise
        exact = self.dtype == ir.DataType.DOUBLE
        return op.Reciprocal(op.Add(number(1, self), op.Exp(op.Neg(self)))) if exact else op.Sigmoid(self)

    def softplus(self: Any) -> Any:
        if self.dtype != ir.DataType.DOUBLE:
            return op.Softplus(self)
        small = op.Log(op.Add(number(1, self), op.Exp(op.Neg(op.Abs(self)))))
        return op.Add(op.Max(self, number(0, self)), small)

    def cummin(self: Any, dim: int) -> Any:
        size, step = self.shape[dim], 1
        while step < size:
            start, earlier = (op.Slice(self, [0], [stop], [dim]) for stop in (step, size - step))
            self = op.Min(self, op.Concat(start, earlier, axis=dim))
            step *= 2
        return self, op.Constant(value_int=-1)  # nobody asks for the places

    def nextafter(self: Any, other: Any) -> Any:
        x, to = op.Cast(self, to=11), op.Cast(other, to=11)
        step = op.Max(op.Mul(op.Abs(x), number(2**-24 * (1 + 2**-10))), number(2**-149))
        return op.Cast(op.Add(x, op.Mul(op.Sign(op.Sub(to, x)), step)), to=1)

    aten = torch.ops.aten
    return {
        aten.scalar_tensor.default: scalar_tensor,
        aten.clamp.default: clamp,
        aten.clamp_min.default: clamp_min,
        aten.sigmoid.default: sigmoid,
        aten.softplus.default: softplus,
        aten.cummin.default: cummin,
        aten.nextafter.default: nextafter,
    }
