"""The choices of a repair: how far to go back, what to add to each class, and which offset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from torch import Tensor

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.class_shifts import class_balance
from reclaim.calibration.evidence import Evidence, thinned
from reclaim.calibration.selectors.auto import without_budget
from reclaim.repairs.alpha import WEIGHTS, Mix, Prefer, most_promising
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["CERTIFIED_BY", "ENOUGH_TO_DIVIDE", "Ask", "Choice", "choose", "divided"]

ENOUGH_TO_DIVIDE = 200  # held-out rows from which on one half chooses the weight and the other the offset
CERTIFIED_BY = 1 << 14  # held-out rows at most; each more than so many changes a certificate by less than 1e-4

Ask = Callable[[float, str], Snapshot]


@dataclass(frozen=True)
class Choice:
    """What a repair does.

    Attributes:
        mix: the weight of the fine-tuned model, with what was tried.
        offset: the offset of absent logits, and the shifts of single classes.
    """

    mix: Mix
    offset: LogitOffset


def divided(rows: int, mix: float | Literal["auto"], prefer: Prefer | None, balance: float) -> bool:
    """Whether so many held-out rows are divided, for one half to certify what the other chose."""
    return prefer is None and rows >= ENOUGH_TO_DIVIDE and (mix == "auto" or balance > 0)


def choose(
    ask: Ask,
    *,
    mix: float | Literal["auto"] = "auto",
    select: str = "auto",
    numbers: Mapping[str, Any] | None = None,
    prefer: Prefer | None = None,
    balance: float = 0.5,
    extra: Collection[str] = (),
    apart: bool = True,
) -> Choice:
    """Choose from the answers of mixtures of a pretrained model (weight 0) and a fine-tuned one (weight 1).

    Args:
        ask: the answers of the mixture with a weight, on the rows of a part of the evidence. "mix" and "offset" are
            held-out rows of seen classes. It is asked for what is needed only.
        mix: the weight of the fine-tuned model, or "auto".
        select, numbers: a selector and its keyword arguments; `budget` also limits the choice of the weight.
        prefer: give up the budget, and with it the guarantee, for the best estimated accuracy over all classes.
        balance: how far single classes are shifted to be answered as often as they should, see `class_balance`.
        extra: other parts of the evidence there are.
        apart: whether "mix" and "offset" are different rows, so that what the one chose is certified by the other.
    """
    numbers = dict(numbers or {})
    kinds = [part for part in ("unlabelled", "source", "labelled") if part in extra]

    @cache
    def shifts(weight: float) -> Tensor:
        """Of single classes, by the rows that choose the mixture."""
        target = next((ask(weight, part) for part in ("labelled", "unlabelled") if part in extra), None)
        return class_balance(ask(weight, "mix"), target, strength=balance)

    def shifted(weight: float, part: str) -> Snapshot:
        return _plus(ask(weight, part), shifts(weight)) if balance else ask(weight, part)

    def of_all(part: str) -> dict[float, Snapshot]:
        return {weight: shifted(weight, part) for weight in WEIGHTS}

    def offset_of(weight: float) -> LogitOffset:
        changed = bool(balance) or weight != 1
        models = (weight, 0.0, 1.0) if changed else (weight, 0.0)
        rows, *others = thinned(*(ask(model, "offset") for model in models), most=CERTIFIED_BY)
        evidence = Evidence(
            seen=_plus(rows, shifts(weight)) if balance else rows,
            before=others[0],
            reference=others[1] if changed else None,
            **{part: shifted(weight, part) for part in kinds},
        )
        name = without_budget(evidence) if prefer is not None and select == "auto" else select
        return LogitOffset.select(evidence, name, numbers, shifts(weight) if balance else None)

    if mix != "auto":
        chosen = Mix(float(mix), "as given")
        offset = offset_of(chosen.weight)
        if balance and not apart:
            offset = _uncertified(offset, "the same rows chose the shifts of single classes")
        return Choice(chosen, offset)
    chosen = most_promising(
        ask(0.0, "mix"),
        of_all("mix"),
        reference=ask(1.0, "mix"),
        unlabelled=of_all("unlabelled") if "unlabelled" in extra else None,
        labelled=of_all("labelled") if "labelled" in extra else None,
        budget=None if prefer is not None else numbers.get("budget", 0.05),
        prefer=prefer or "balanced",
    )
    offset = offset_of(chosen.weight)
    if offset.guarantee is None and "budget" in offset.details and (chosen.weight != 1 or balance):  # it cannot be kept
        reason = f"back to the fine-tuned model, because at {chosen.weight:g} {offset.reason}"
        again = choose(ask, mix=1.0, select=select, numbers=numbers, balance=0, extra=extra)
        return Choice(replace(chosen, weight=1.0, reason=reason),
                      _uncertified(again.offset, "a first weight failed on the same rows"))  # fmt: skip
    return Choice(chosen, offset if apart else _uncertified(offset, "the same rows chose the weight"))


def _plus(rows: Snapshot, shifts: Tensor) -> Snapshot:
    return replace(rows, logits=rows.logits + shifts, finite=True)


def _uncertified(offset: LogitOffset, why: str) -> LogitOffset:
    return replace(offset, guarantee=None, reason=f"{offset.reason}; not certified, because {why}")
