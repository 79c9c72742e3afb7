"""The main job from answers alone: for models whose weights one does not have, or which are built differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import thinned
from reclaim.core.checks import check_groups
from reclaim.core.errors import BadInput
from reclaim.repairs.alpha import Mix, Prefer
from reclaim.repairs.mixtures import OutputMixture, aligned, mixed
from reclaim.repairs.plan import CERTIFIED_BY, choose, divided
from reclaim.repairs.rows import check_enough, divide_rows, halves
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["AnswersRepair", "Pair", "repair_answers"]

Pair = tuple[Snapshot, Snapshot]  # of the pretrained and of the fine-tuned model, on the same rows


@dataclass(frozen=True)
class AnswersRepair:
    """Two models' answers repaired, and what there is to say about it.

    Attributes:
        mixture: makes of the answers of both models on new rows the repaired ones.
        mix: how the weight was chosen.
        before, after, repaired: answers on the report rows, which chose nothing.
    """

    mixture: OutputMixture
    mix: Mix
    before: Snapshot
    after: Snapshot
    repaired: Snapshot

    @property
    def offset(self) -> LogitOffset:
        """What is added to the mixture, with reasons."""
        return self.mixture.offset


def repair_answers(
    before: Snapshot,
    after: Snapshot,
    *,
    mix: float | Literal["auto"] = "auto",
    select: str = "auto",
    numbers: Mapping[str, Any] | None = None,
    prefer: Prefer | None = None,
    class_balance: float = 0.5,
    extra: Mapping[str, Pair] | None = None,
    report: Pair | None = None,
    held_out: float = 0.5,
    seed: int = 0,
) -> AnswersRepair:
    """Repair a fine-tuned model by what it and the pretrained one answer.

    As `repair` does, with logarithmic probabilities mixed instead of weights: half of the held-out rows choose the
    weight and the shifts of single classes, the other half the offset; with fewer than 200 of them, or with a
    preference, all choose everything, and nothing is guaranteed. No row of an absent class chooses.

    Args:
        before: the pretrained model's answers on labelled rows that neither model was trained on.
        after: the fine-tuned model's on the same rows, over the same classes in any order. Its `seen` says which
            classes the fine-tuning had.
        mix: the weight of the fine-tuned model, or "auto".
        select, numbers, prefer, class_balance: as in `repair`.
        extra: more evidence by name, "unlabelled", "source" or "labelled": both models' answers.
        report: both models' answers on rows to report on; all rows of seen classes in `before` and `after` then choose.
        held_out: the share of rows that choose, without such.
        seed: of the division of the rows.

    Raises: BadInput if the snapshots are about other classes or rows, or do not hold what is needed.
    Source: Reclaim; docs/repair.md.
    """
    before, after = aligned(before, after)
    check_groups(after.seen)
    if after.labels is None:
        raise BadInput("these rows have no labels; held-out rows of seen classes must be labelled.")

    def pair(given: Pair) -> Pair:
        first, last = aligned(*given, classes=after.classes)
        return replace(first, seen=after.seen, finite=True), replace(last, seen=after.seen, finite=True)

    if report is None:
        (first, start), (last, end) = (
            divide_rows(rows, after.seen[after.labels], held_out, seed) for rows in (before, after)
        )
    else:
        first, last, (start, end) = before.seen_rows(), after.seen_rows(), pair(report)
    check_enough(last, end, after.data or "the snapshot")
    apart = divided(len(last), mix, prefer, class_balance)
    (mix_0, offset_0), (mix_1, offset_1) = (halves(rows, seed) if apart else (rows, rows) for rows in (first, last))
    parts = {"mix": (mix_0, mix_1), "offset": (offset_0, offset_1)}
    parts |= {name: pair(given) for name, given in (extra or {}).items()}

    @lru_cache(maxsize=1)  # each is asked for twice in a row, for its shifts and for itself
    def ask(weight: float, part: str) -> Snapshot:
        first, last = thinned(*parts[part], most=CERTIFIED_BY)
        made = replace(last, logits=mixed(first.logits, last.logits, weight), split=f"{part} rows", finite=True)
        return made.unlabelled() if part == "unlabelled" else made

    chosen = choose(ask, mix=mix, select=select, numbers=numbers, prefer=prefer, balance=class_balance,
                    extra=tuple(extra or ()), apart=apart)  # fmt: skip
    mixture = OutputMixture(chosen.mix.weight, chosen.offset)
    start, end = (replace(rows, split="report rows", finite=True) for rows in (start, end))
    return AnswersRepair(mixture, chosen.mix, start, end, mixture.of(start, end))
