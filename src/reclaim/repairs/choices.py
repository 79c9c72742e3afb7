"""What a repair is asked for. Imports no torch, so that the command line can show it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from reclaim.core.errors import unknown
from reclaim.core.numbers import InnerShare, Seed, Share, check_fields

__all__ = ["BY_RETRAINING", "Choices", "Prefer"]

BY_RETRAINING = "pseudo-cross-validation"  # the way to an offset that is no selector, because it trains

FORMERLY = {"class_shifts": "class_balance"}

Prefer = Literal["balanced", "seen", "absent"]


@dataclass(frozen=True)
class Choices:
    """What every repair may be told, and what it chooses by itself otherwise.

    Attributes:
        mix: alpha, the share of the fine-tuned model, from 0 to 1; "auto" chooses it.
        select: how to choose the offset; `reclaim list selectors` describes the ways. Another one,
            "pseudo-cross-validation", repeats the fine-tuning on parts of the seen classes; for this the fine-tuned
            model is a directory that `reclaim tune` wrote.
        numbers: keyword arguments of the selector; `budget` also limits the choice of alpha.
        prefer: give up the budget of lost seen accuracy for the best estimated accuracy over all classes, or with
            seen or absent classes counted twice.
        class_shifts: how much of the shifts to take that bring single classes nearer to being answered as often as
            they should, from 0 to 1; unlabelled data are taken to hold every class equally often.
        held_out: the share of rows that choose, where there is only one split besides the training one.
        seed: of the division of the rows.
    """

    mix: Share | Literal["auto"] = "auto"
    select: str = "auto"
    numbers: Mapping[str, Any] = field(default_factory=dict)
    prefer: Prefer | None = None
    class_shifts: Share = 0.5
    held_out: InnerShare = 0.5
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.prefer is not None and self.prefer not in get_args(Prefer):
            raise unknown("preference", self.prefer, list(get_args(Prefer)))
