"""How networks are run. Imports no torch, so that the command line can show it at once."""

from __future__ import annotations

from dataclasses import dataclass

from reclaim.core.devices import check_device
from reclaim.core.errors import BadInput

__all__ = ["Inference"]


@dataclass(frozen=True)
class Inference:
    """How to run a network over examples.

    Attributes:
        batch_size: examples at a time; by default 32 on a CPU, whose cache is small, and 256 on a GPU.
        workers: processes that decode examples; 0 decodes in the main one.
        device: "auto" is a GPU if there is one; or "cpu", "cuda", "cuda:1", "mps".
    """

    batch_size: int | None = None
    workers: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_device(self.device)
        if self.workers < 0 or (self.batch_size is not None and self.batch_size < 1):
            raise BadInput(
                f"batch size and workers must be at least 1 and 0; given: {self.batch_size}, {self.workers}."
            )
