"""How networks are run. Imports no torch, so that the command line can show it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reclaim.core.devices import check_device
from reclaim.core.numbers import Count, Workers, check_fields

__all__ = ["Inference", "Precision"]

Precision = Literal["float32", "tf32", "bf16", "fp16"]


@dataclass(frozen=True)
class Inference:
    """How to run a network over examples.

    Attributes:
        batch_size: examples at a time; by default 32 on a CPU, whose cache is small, and 256 on a GPU.
        workers: processes that decode examples; 0 decodes in the main one. By default there are some where the
            examples are images, many, and the machine has four cores or more.
        device: "auto" is a GPU if there is one; or "cpu", "cuda", "cuda:1", "mps".
        precision: of a network's arithmetic; tf32, bf16 and fp16 are faster on most GPUs, and change answers a little,
            which is measured and said. float32 is that, also where torch would take TF32 for convolutions.
    """

    batch_size: Count | None = None
    workers: Workers | None = None
    device: str = "auto"
    precision: Literal["float32", "tf32", "bf16", "fp16"] = "float32"

    def __post_init__(self) -> None:
        check_device(self.device)
        check_fields(self)
