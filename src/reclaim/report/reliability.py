"""How far the confidence can be trusted: every estimator, the parts of the Brier score and the reliability diagram."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.core.numbers import Seed, Whole, in_range
from reclaim.snapshots.metrics.absent_probability import absent_log_odds
from reclaim.snapshots.metrics.binning import Binned
from reclaim.snapshots.metrics.brier import BrierParts, brier_parts, parts_of
from reclaim.snapshots.metrics.by_name import Estimate, classwise_estimate, row_estimates
from reclaim.snapshots.metrics.classwise import classwise_binned
from reclaim.snapshots.metrics.reliability import ReliabilityBin, reliability_diagram
from reclaim.snapshots.metrics.row_scores import RowScores, row_scores
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["GroupReliability", "Reliability", "reliability"]

RESAMPLED = "ece-debiased-l1"  # the one estimate that gets an interval: of the others, each is biased in its own way


@dataclass(frozen=True)
class GroupReliability:
    """Of some rows, all classes competing.

    Attributes:
        estimates: every confidence metric by its name; the debiased calibration error with a bootstrap interval.
        brier_parts: the parts of their Brier score, by the bins of each class; None without rows.
        bins: the reliability diagram of the top label; none without rows.
    """

    estimates: dict[str, Estimate]
    brier_parts: BrierParts | None
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class Reliability:
    """Of all rows, of those of seen and of absent classes, and of the question whether the label is an absent class.

    Attributes:
        all, seen, absent: rows by their label's group.
        question_parts, question_bins: of P(absent | x) against 1[label absent]; None and none where a group has no
            classes and there is no question.
    """

    all: GroupReliability
    seen: GroupReliability
    absent: GroupReliability
    question_parts: BrierParts | None
    question_bins: tuple[ReliabilityBin, ...]

    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@in_range
def reliability(snapshot: Snapshot, *, resamples: Whole = 100, seed: Seed = 0) -> Reliability:
    """Whether a labelled snapshot's probabilities are honest, in full. Reads the logits three times.

    Args:
        resamples, seed: of the interval of the debiased calibration error.

    Raises: BadInput without labels or rows.
    """
    if snapshot.labels is None or not len(snapshot):
        raise BadInput("an evaluation needs labelled rows; this snapshot has none.")
    z, y = snapshot.logits, snapshot.labels
    is_seen = snapshot.seen[y]
    scores = row_scores(z, y)
    seen, absent = (classwise_binned(z, y, rows=mask.nonzero().squeeze(1)) for mask in (is_seen, ~is_seen))
    both = Binned(seen.count + absent.count, seen.forecast + absent.forecast, seen.hits + absent.hits)

    def of(rows: Tensor | slice, classwise: Binned) -> GroupReliability:
        together = None if snapshot.groups is None else snapshot.groups[rows]
        return _group(scores.rows(rows), classwise, resamples, seed, together)

    by_group = {"all": of(slice(None), both), "seen": of(is_seen, seen), "absent": of(~is_seen, absent)}
    odds = absent_log_odds(z, snapshot.seen)
    asked = bool(odds.isfinite().any())
    return Reliability(
        **by_group,
        question_parts=brier_parts(odds.sigmoid(), ~is_seen) if asked else None,
        question_bins=reliability_diagram(odds.sigmoid(), ~is_seen, groups=snapshot.groups) if asked else (),
    )


def _group(
    scores: RowScores, classwise: Binned, resamples: int, seed: int, together: Tensor | None
) -> GroupReliability:
    n = len(scores.top)
    resampled = row_estimates(scores, (RESAMPLED,), resamples=resamples, seed=seed, groups=together)
    estimates = {e.name: e for e in (*row_estimates(scores), classwise_estimate(classwise, n), *resampled)}
    if not n:
        return GroupReliability(estimates, None, ())
    parts = parts_of(classwise, float(scores.brier.mean()))
    return GroupReliability(estimates, parts, reliability_diagram(scores.top, scores.right, groups=together))
