"""Precision: what networks compute in, what less of it changes, and where it overflows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.compat import single_precision
from reclaim.core.errors import Argument, BadInput
from reclaim.core.inference import Precision
from reclaim.core.notes import note
from reclaim.data.inputs.protocol import Inputs
from reclaim.models.forward import logits_of

__all__ = ["check_overflow", "in_precision", "said_change"]

log = logging.getLogger(__name__)

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def in_precision(precision: Precision, where: torch.device) -> Iterator[None]:
    """Within it networks compute in that precision on the device.

    By itself torch takes TF32, of ten bits, for convolutions on a GPU. Then a GPU and a CPU give other answers.
    """
    with single_precision("tf32" if precision == "tf32" else "ieee"):
        if precision in TYPES:
            with torch.autocast(where.type, dtype=TYPES[precision]):
                yield
        else:
            with torch.autocast(where.type, enabled=False):
                yield


def said_change(z: Tensor, exact: Tensor, precision: Precision, where: torch.device) -> None:
    """Say how logits [B, C] differ from those in float32, and note it as `precision_change`."""
    finite = torch.isfinite(exact) & torch.isfinite(z)
    largest = float((z - exact).abs().where(finite, 0).max())
    changed = float((z.argmax(dim=1) != exact.argmax(dim=1)).float().mean())
    log.info(
        "%s on %s: of %d rows that were also run in float32, logits change by up to %.2g, and %.2f %% of the answers",
        *(precision, where, len(z), largest, 100 * changed),
    )
    note("precision_change", {"largest_logit": largest, "share_of_answers": changed}, _larger)


def check_overflow(module: nn.Module, x: Inputs, row: str, precision: Precision, where: torch.device) -> None:
    """Raise if float32 gives finite logits for the inputs x of a row that has others in this precision.

    Raises: BadInput, with the row and the first layer that overflows.
    """
    with in_precision("float32", where):
        if not torch.isfinite(logits_of(module, x)).all():
            return
    with _first_overflow(module) as found:
        logits_of(module, x)
    layer = f"; the first layer that does not is {found[0]!r}" if found else ""
    raise BadInput(
        f"{precision} does not hold what the network computes for {row}, where float32 does{layer}.",
        Argument("precision", "run it in float32", "float32"),
    )


@contextmanager
def _first_overflow(module: nn.Module) -> Iterator[list[str]]:
    """The first of the smallest parts whose output is not finite, once the network has run."""
    found: list[str] = []

    def looked(name: str) -> Any:
        def look(_: nn.Module, __: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return look

    parts = [(name, part) for name, part in module.named_modules() if not any(part.children())]
    hooks = [part.register_forward_hook(looked(name)) for name, part in parts]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _larger(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: max(value, other[name]) for name, value in one.items()}
