"""Calibration of every class's probability, not only of the largest one."""

from __future__ import annotations

import torch
from torch import Tensor

from reclaim.core.arrays import Array, row_blocks
from reclaim.core.numbers import Few, Share, in_range
from reclaim.snapshots.metrics.accuracy import checked
from reclaim.snapshots.metrics.binning import Binned
from reclaim.snapshots.metrics.brier import BrierParts, parts_of
from reclaim.snapshots.metrics.row_scores import row_scores

__all__ = ["classwise_binned", "classwise_brier_parts", "classwise_ece", "classwise_ece_of"]


@in_range
def classwise_ece(logits: Array, labels: Array, *, bins: Few = 15, threshold: Share = 0.0) -> float | None:
    """Mean over classes of the binary calibration error of p_c against 1[label = c], equal-width bins. Plug-in.

    Args:
        logits: [N, C].   labels: [N].
        threshold: leave out the probabilities up to it. With many classes nearly all are near 0 and hide the others;
            1/C is a common choice.

    Returns: the mean over the classes with any probability above the threshold; None without one.
    Source: Kull et al., "Beyond temperature scaling", NeurIPS 2019 (class-wise ECE); Nixon et al., "Measuring
        Calibration in Deep Learning", CVPR workshops 2019 (threshold).
    """
    z, y, _ = checked(logits, labels, torch.ones(logits.shape[1], dtype=torch.bool))
    return classwise_ece_of(classwise_binned(z, y, bins=bins, threshold=threshold))


def classwise_ece_of(b: Binned) -> float | None:
    """The mean error that the sums of the bins of each class imply."""
    kept = b.count.sum(dim=1)
    errors = ((b.hits - b.forecast).abs().sum(dim=1) / kept)[kept > 0]
    return float(errors.mean()) if len(errors) else None


@in_range
def classwise_brier_parts(logits: Array, labels: Array, *, bins: Few = 15) -> BrierParts:
    """The Brier score of all classes taken apart by the equal-width bins of each, summed over classes.

    The parts add up to the `brier` of `confidence`. At least one row.

    Source: Murphy, "A New Vector Partition of the Probability Score", JAM 1973; see `brier_parts`.
    """
    z, y, _ = checked(logits, labels, torch.ones(logits.shape[1], dtype=torch.bool))
    return parts_of(classwise_binned(z, y, bins=bins), float(row_scores(z, y).brier.mean()))


def classwise_binned(
    logits: Tensor, labels: Tensor, *, bins: int = 15, threshold: float = 0.0, rows: Tensor | None = None
) -> Binned:
    """Sums over the bins of each class, [C, bins] each, of the softmax of [N, C] logits.

    A row has fewer than `bins` probabilities above 1/bins, so only those are looked up; the first bin is the rest.

    Args:
        rows: indices of the rows to take, with repetition; every row once without it.
    """
    num_classes = logits.shape[1]
    count, forecast, hits = torch.zeros(3, num_classes * bins, dtype=torch.float64, device=logits.device)
    all_count, all_forecast = torch.zeros(2, num_classes, dtype=torch.float64, device=logits.device)
    for block in row_blocks(logits if rows is None else logits[:1].expand(len(rows), -1)):
        z, y = (logits[block], labels[block]) if rows is None else (logits[rows[block]], labels[rows[block]])
        p = z.to(torch.promote_types(z.dtype, torch.float32)).softmax(dim=1)
        own = p.gather(1, y[:, None]).squeeze(1)
        hits += torch.bincount(y * bins + _bin(own, bins), (own > threshold).double(), minlength=len(hits))
        above = (p > max(threshold, 1 / bins)).nonzero()
        high = p[above[:, 0], above[:, 1]]
        index = above[:, 1] * bins + _bin(high, bins)
        count += torch.bincount(index, minlength=len(count))
        forecast += torch.bincount(index, high.double(), minlength=len(forecast))
        if threshold > 0:
            kept = p > threshold
            all_count += kept.sum(dim=0)
            p *= kept
        else:
            all_count += len(p)
        all_forecast += p.sum(dim=0)
    count, forecast, hits = (sums.view(num_classes, bins) for sums in (count, forecast, hits))
    count[:, 0] += all_count - count.sum(dim=1)
    forecast[:, 0] += all_forecast - forecast.sum(dim=1)
    return Binned(count, forecast, hits)


def _bin(p: Tensor, bins: int) -> Tensor:
    return (p.double() * bins).ceil().long().clamp(1, bins) - 1
