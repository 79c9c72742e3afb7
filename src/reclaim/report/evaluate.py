"""Everything one snapshot says: accuracy by group, the trade-off, confidence, each with its interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.absent_probability import absent_log_odds, group_question_of
from reclaim.snapshots.metrics.accuracy import Accuracy, accuracy_of, wilson_interval
from reclaim.snapshots.metrics.clustered import area_error, effective_rows, width
from reclaim.snapshots.metrics.confidence import Confidence, confidence_by_group
from reclaim.snapshots.metrics.margins import Margins, margins
from reclaim.snapshots.metrics.row_scores import row_scores
from reclaim.snapshots.metrics.tradeoff import Steps, area_of, best, curve_of, steps_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Evaluation", "evaluate"]

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Tradeoff:
    """What any offset could reach on these very rows. None without rows of both groups.

    Attributes:
        area: under the curve.
        best_offset: the middle of the offsets that come to the ceiling, but for about one row.
        best_all: the ceiling, the best overall accuracy of any offset.
    """

    area: float | None
    best_offset: float | None
    best_all: float | None


@dataclass(frozen=True)
class Evaluation:
    """Numbers of one snapshot.

    Attributes:
        n, seen_rows, absent_rows: rows, and how many of them belong to either group.
        accuracy, tradeoff, confidence: the metrics.
        confidence_by_group: of rows of seen and of absent classes, whose errors may cancel in that of all rows.
        group_question: of the probability that the label is an absent class, see `group_question`.
            Of a model that lacks all absent classes, what no logit tells is None: the trade-off, accuracy among absent.
        intervals: 95 % intervals of the accuracies (Wilson) and of the area (DeLong), by name. Where rows belong
            together (`Snapshot.groups`), groups are counted: Wilson of the effective number of rows, and Obuchowski.
    """

    n: int
    seen_rows: int
    absent_rows: int
    accuracy: Accuracy
    tradeoff: Tradeoff
    confidence: Confidence
    confidence_by_group: dict[str, Confidence]
    group_question: Confidence
    intervals: dict[str, Interval]

    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def evaluate(snapshot: Snapshot) -> Evaluation:
    """Evaluate a labelled snapshot.

    Raises: BadInput without labels or rows.
    """
    if snapshot.labels is None or not len(snapshot):
        raise BadInput("an evaluation needs labelled rows; this snapshot has none.")
    m = margins(snapshot.logits, snapshot.labels, snapshot.seen)
    right, steps = accuracy_of(m), steps_of(m)
    num_seen, num_absent = int(m.is_seen.sum()), int((~m.is_seen).sum())
    intervals = _intervals(m, snapshot.groups) | {"area": _area_interval(steps, m, snapshot.groups)}
    absent = {name for name, known in zip(snapshot.classes, snapshot.seen.tolist(), strict=True) if not known}
    told = not absent or not absent <= set(snapshot.lacks)  # by the logits of absent classes
    by_group = confidence_by_group(row_scores(snapshot.logits, snapshot.labels), m.is_seen)
    return Evaluation(
        n=len(snapshot),
        seen_rows=num_seen,
        absent_rows=num_absent,
        accuracy=right if told else replace(right, absent_among_absent=None),
        tradeoff=_tradeoff(steps) if told else Tradeoff(None, None, None),
        confidence=by_group.pop("all"),
        confidence_by_group=by_group,
        group_question=group_question_of(absent_log_odds(snapshot.logits, snapshot.seen), ~m.is_seen),
        intervals=intervals if told else intervals | {"absent_among_absent": None, "area": None},
    )


def _intervals(m: Margins, groups: Tensor | None) -> dict[str, Interval]:
    """Of the accuracies, by name."""
    every = torch.ones_like(m.is_seen)
    kinds = {
        "all": (m.right, every),
        "seen": (m.right, m.is_seen),
        "absent": (m.right, ~m.is_seen),
        "seen_among_seen": (m.hit, m.is_seen),
        "absent_among_absent": (m.hit, ~m.is_seen),
    }
    return {name: _interval(right, rows, groups) for name, (right, rows) in kinds.items()}


def _interval(right: Tensor, rows: Tensor, groups: Tensor | None) -> Interval:
    """Of the share of these rows, a mask [N], that are right."""
    chosen = right[rows]
    if not len(chosen):
        return None
    n = len(chosen) if groups is None else effective_rows(chosen, groups[rows])
    return wilson_interval(float(chosen.double().mean()), n)


def _tradeoff(steps: Steps) -> Tradeoff:
    found = area_of(steps)
    if found is None:
        return Tradeoff(None, None, None)
    top = best(curve_of(steps))
    return Tradeoff(area=found[0], best_offset=top.offset, best_all=top.ceiling)


def _area_interval(steps: Steps, m: Margins, groups: Tensor | None) -> Interval:
    found = area_of(steps)
    if found is None:
        return None
    value, error = found
    reach = 1.959964 * error
    if groups is not None:
        together = area_error(m, groups)
        reach = 1.0 if together is None else width(len(groups.unique())) * together
    return max(0.0, value - reach), min(1.0, value + reach)
