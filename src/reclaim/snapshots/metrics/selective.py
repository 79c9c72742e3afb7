"""Does confidence rank right answers before wrong ones? Risk against coverage, as answers are given by confidence."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import by_numpy

__all__ = ["aurc", "excess_aurc", "oracle_aurc", "selective_risk"]


def selective_risk(score: Tensor, right: Tensor) -> Tensor:
    """Share of wrong answers among the k rows with the largest score, k = 1 … N; [N] float64.

    Rows of one score come in no order: this is the mean over all of them.

    Args:
        score: [N], the larger the surer, on any scale.   right: [N], 1 or 0.
    """
    order = by_numpy(np.argsort, -score)
    ordered, wrong = score[order], 1 - right[order].double()
    tie = torch.cat([ordered.new_zeros(1, dtype=torch.int64), (ordered[1:] != ordered[:-1]).long()]).cumsum_(0)
    del order, ordered  # of many rows each takes as much as the score
    shared = (torch.bincount(tie, wrong) / torch.bincount(tie))[tie]
    return shared.cumsum_(0).div_(torch.arange(1, len(score) + 1, device=score.device))


def aurc(score: Tensor, right: Tensor) -> float:
    """Area under the risk-coverage curve: the mean of the selective risks, in [0, 1]. At least one row.

    Source: Geifman et al., "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019.
    Differs: averaged over all orders of equal scores, in closed form, so the order of rows does not matter.
    """
    return float(selective_risk(score, right).mean())


def excess_aurc(score: Tensor, right: Tensor) -> float:
    """The area beyond that of the best ranking of the same answers.

    Source: Geifman et al., ICLR 2019 (E-AURC).
    Differs: the best area is the exact sum, not its approximation by an integral.
    """
    n = len(right)
    return aurc(score, right) - oracle_aurc(n, n - round(float(right.sum())))


def oracle_aurc(n: int, errors: int) -> float:
    """The area of a ranking of n rows that puts all errors last."""
    j = torch.arange(1, errors + 1, dtype=torch.float64)
    return float((j / (n - errors + j)).sum() / n)
