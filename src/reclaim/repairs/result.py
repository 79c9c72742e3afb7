"""What a repair came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import nn

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.models.classifier import Classifier
from reclaim.repairs.alpha import ChosenAlpha
from reclaim.repairs.mixtures import OutputMixture
from reclaim.repairs.plan import Plan
from reclaim.repairs.stitching import Stitch
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Repair"]

M = TypeVar("M", bound=Classifier | nn.Module | OutputMixture)


@dataclass(frozen=True)
class Repair(Generic[M]):
    """A repaired model, and what there is to say about it.

    Attributes:
        plan: what was chosen, with reasons.
        model: what the user takes home: a classifier of the fine-tuned one's architecture and format; a module, where
            modules were given; or, where only answers were given, what makes of both models' answers the repaired ones.
        before, after, repaired: answers on the report rows, which chose nothing.
        bias: what was added to the bias of the classifier's head for absent classes. It is the offset itself, unless
            the network goes on after its head, so that no constant there is a constant on the logits. None for answers.
        stitch: how two heads over other classes became one; None where they answer the same classes.
    """

    plan: Plan
    model: M
    before: Snapshot
    after: Snapshot
    repaired: Snapshot
    bias: float | None = None
    stitch: Stitch | None = None

    @property
    def mix(self) -> ChosenAlpha:
        """The alpha of the mixture, with what was tried."""
        return self.plan.mix

    @property
    def alpha(self) -> float:
        """0 is the pretrained model, 1 the fine-tuned one."""
        return self.plan.alpha

    @property
    def offset(self) -> LogitOffset:
        """What is added to the mixture's logits, with reason and guarantee."""
        return self.plan.offset
