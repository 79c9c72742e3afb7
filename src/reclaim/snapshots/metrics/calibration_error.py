"""How far probabilities are from frequencies: estimators on pairs of a probability [N] and an outcome [N], 0 or 1.

For the confidence of a classifier the pairs are the top probability and whether it is right, `top_label`. Every
function needs at least one row. The plug-in estimators are biased upwards, the more so the fewer rows there are: never
compare two of them at different N.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import by_numpy
from reclaim.core.numbers import Few, Whole, in_range
from reclaim.snapshots.metrics.binning import Binned, Scheme, binned

__all__ = ["debiased_l1", "debiased_l2", "ece", "ks", "mce", "plug_in"]


@in_range
def ece(p: Tensor, hit: Tensor, *, bins: Few = 15, scheme: Scheme = "width") -> float:
    """Expected calibration error: mean gap between probability and frequency over the bins (l, u]. Plug-in.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (equal width); Nixon et al., "Measuring
        Calibration in Deep Learning", CVPR workshops 2019 (equal mass).
    Differs: a probability of exactly 0 belongs to the first bin instead of none; equal-mass bins are cut between
        distinct probabilities only, so the order of rows does not matter.
    """
    return plug_in(binned(p, hit, bins, scheme))


def plug_in(b: Binned) -> float:
    """The error that the sums of some bins imply."""
    return float((b.hits - b.forecast).abs().sum() / b.count.sum())


@in_range
def mce(p: Tensor, hit: Tensor, *, bins: Few = 15, scheme: Scheme = "width", at_least: Whole = 10) -> float | None:
    """Maximum calibration error: the largest gap of any bin with `at_least` rows; None where there is no such bin.

    Source: Guo et al., ICML 2017.
    Differs: bins with fewer than 10 rows are ignored; a single row makes a gap of any size. `at_least=1` is theirs.
    """
    b = binned(p, hit, bins, scheme)
    gaps = ((b.hits - b.forecast).abs() / b.count)[b.count >= max(1, at_least)]
    return float(gaps.max()) if len(gaps) else None


@in_range
def debiased_l1(p: Tensor, hit: Tensor, *, bins: Few = 15, scheme: Scheme = "width") -> float:
    """The expected calibration error less an estimate of its bias.

    The bias is what the error would gain if each bin's frequency were drawn once more, from a normal distribution with
    the same mean and variance. Removes about two fifths of the bias where calibration is perfect, nearly all of it
    where the gaps are large; may be below 0.

    Source: Kumar et al., "Verified Uncertainty Calibration", NeurIPS 2019 (`get_ece` with debias).
    Differs: the expectation over draws in closed form (folded normal) instead of a mean over 1000; a bin with one row
        is not corrected instead of refused.
    """
    b = binned(p, hit, bins, scheme)
    share, gap, frequency = _means(b)
    spread = (frequency * (1 - frequency) / b.count.clamp_min(1)).sqrt()
    z = gap / spread.clamp_min(1e-300)
    folded = (2 / torch.pi) ** 0.5 * spread * (-z.square() / 2).exp() + gap * torch.special.erf(z / 2**0.5)
    return float((share * (2 * gap.abs() - folded)).sum())


@in_range
def debiased_l2(p: Tensor, hit: Tensor, *, bins: Few = 15, scheme: Scheme = "mass") -> float:
    """Root of the mean squared gap over the bins, the square without bias, cut at 0 before the root.

    Source: Kumar et al., "Verified Uncertainty Calibration", NeurIPS 2019. Bins with one row count 0.
    """
    b = binned(p, hit, bins, scheme)
    share, gap, frequency = _means(b)
    square = gap.square() - frequency * (1 - frequency) / (b.count - 1).clamp_min(1)
    return max(0.0, float((share * square)[b.count >= 2].sum())) ** 0.5


def ks(p: Tensor, hit: Tensor) -> float:
    """Kolmogorov-Smirnov error: the largest gap between hits expected and hits, of all rows up to some probability,
    as a share of all rows. Without bins.

    Source: Gupta et al., "Calibration of Neural Networks using Splines", ICLR 2021.
    Differs: looked at only between distinct probabilities, so the order of rows does not matter.
    """
    order = by_numpy(np.argsort, p)
    ordered = p[order]
    gaps = (ordered.double() - hit[order].double()).cumsum(0)
    last = torch.cat([ordered[1:] != ordered[:-1], ordered.new_ones(1, dtype=torch.bool)])
    return float(gaps[last].abs().max() / len(p))


def _means(b: Binned) -> tuple[Tensor, Tensor, Tensor]:
    """Of each bin: its share of the rows, forecast - frequency, and frequency; 0 where it is empty."""
    n = b.count.clamp_min(1)
    return b.count / b.count.sum(), (b.forecast - b.hits) / n, b.hits / n
