"""What a recipe may spend. Imports no torch, so that the command line can show it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reclaim.core.devices import check_device
from reclaim.core.inference import Inference
from reclaim.core.numbers import Count, NotNegative, Positive, Seed, Whole, Workers, check_fields

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """What every recipe may spend, and how.

    Attributes:
        epochs: passes over the training rows of seen classes; 0 trains nothing.
        learning_rate: the first step size; it falls to 0 along a cosine, step by step.
        batch_size: rows per step, over all machines; an incomplete last batch is left out.
        weight_decay: as the optimizer takes it.
        optimizer: SGD with Nesterov momentum 0.9, or AdamW.
        augment: mirror images ("flip"), or also cut out 70 to 100 % of them ("crop-flip").
        seed: of the order, the augmentation and dropout.
        device: "auto" is a GPU if there is one (or what RECLAIM_DEVICE says); or "cpu", "cuda", "cuda:1", "mps".
        precision: "no" is float32 throughout; "fp16" needs a GPU.
        accumulate: batches whose gradients are added up before a step.
        workers: processes that decode examples; 0 decodes in the main one. By default there are some where the
            examples are images, many, and the machine has four cores or more.
        steps: batches in all, instead of `epochs`; passes follow each other until they are used up.
        absent_rows: "keep" holds the head's rows of absent classes at their weights; "train" trains them like the rest.
        keep: the weights of the "last" epoch, or of the "best": the one with the highest seen accuracy on held-out rows
            (validation rows of seen classes), the first of equal ones.
    """

    epochs: Whole = 10
    learning_rate: Positive = 1e-3
    batch_size: Count = 64
    weight_decay: NotNegative = 5e-4
    optimizer: Literal["sgd", "adamw"] = "sgd"
    augment: Literal["none", "flip", "crop-flip"] = "none"
    seed: Seed = 0
    device: str = "auto"
    precision: Literal["no", "bf16", "fp16"] = "no"
    accumulate: Count = 1
    workers: Workers | None = None
    steps: Whole | None = None
    absent_rows: Literal["keep", "train"] = "keep"
    keep: Literal["last", "best"] = "last"

    @property
    def spends_nothing(self) -> bool:
        """Whether nothing is trained."""
        return not (self.epochs if self.steps is None else self.steps)

    @property
    def inference(self) -> Inference:
        """How to run a network without training it."""
        return Inference(batch_size=self.batch_size, workers=self.workers, device=self.device)

    def __post_init__(self) -> None:
        check_device(self.device)
        check_fields(self)
