"""Margin mixture: it finds two populations that are really there."""

from math import log

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.margin_mixture import margin_mixture
from reclaim.core.errors import BadInput
from reclaim.snapshots.snapshot import Snapshot
from tests.calibration.shared import EVIDENCE, lowered

SEEN = torch.tensor([True, True, False])


def rows(margin: torch.Tensor, labelled: bool) -> Snapshot:
    """Two seen classes and an absent one, with the given margins."""
    z = torch.stack([margin, margin - 9, torch.zeros_like(margin)], dim=1)
    return Snapshot(z, torch.zeros(len(z), dtype=torch.int64) if labelled else None, SEEN)


def normal(n: int, mean: float, seed: int) -> torch.Tensor:
    return mean + torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_finds_the_share_and_the_crossing_of_two_normal_populations() -> None:
    known = rows(normal(4000, 6.0, 0), labelled=True)
    mixed = rows(torch.cat([normal(3000, 6.0, 1), normal(1000, 1.0, 2)]), labelled=False)
    chosen = margin_mixture(Evidence(seen=known, unlabelled=mixed))
    assert chosen.details["absent_share"] == pytest.approx(0.25, abs=0.02)
    assert chosen.details["absent_mean"] == pytest.approx(1.0, abs=0.1)
    # equal variances: the densities cross where (x - 1)^2 / 2 - log .25 = (x - 6)^2 / 2 - log .75
    assert chosen.offset == pytest.approx(3.5 - log(3) / 5, abs=0.15)


def test_lowering_absent_logits_raises_it_by_as_much() -> None:
    moved = margin_mixture(lowered(EVIDENCE, 1.7)).offset
    assert moved == pytest.approx(margin_mixture(EVIDENCE).offset + 1.7, abs=0.02)  # a grid's width


@pytest.mark.parametrize("margin", [normal(300, 9.0, 1), torch.full((300,), 6.0, dtype=torch.float64)])
def test_if_no_population_stands_below_the_seen_one_it_says_so(margin: torch.Tensor) -> None:
    known = rows(normal(500, 6.0, 0), labelled=True)
    with pytest.raises(BadInput, match="no second population"):
        margin_mixture(Evidence(seen=known, unlabelled=rows(margin, labelled=False)))


def expected(known: np.ndarray, d: np.ndarray, iterations: int) -> tuple[float, float, float, float]:
    """Share, mean and variance of the absent rows and the offset, by sums over all pairs in place of a grid."""
    width = 1.06 * known.std(ddof=1) * len(known) ** -0.2

    def seen_density(x: np.ndarray) -> np.ndarray:
        return norm.pdf(np.asarray(x)[..., None], known, width).mean(axis=-1)

    f, spread = seen_density(d), d.std(ddof=1)
    q, m, v = 0.5, np.quantile(d, 0.25), spread**2 / 4
    for _ in range(iterations):
        absent = q * norm.pdf(d, m, v**0.5)
        duty = absent / (absent + (1 - q) * f)
        q, m = duty.mean(), (duty * d).sum() / duty.sum()
        v = (duty * (d - m) ** 2).sum() / duty.sum()
    ends = m, known.mean()
    offset = brentq(lambda x: float((1 - q) * seen_density(x) - q * norm.pdf(x, m, v**0.5)), *ends)
    return q, m, v, offset


@pytest.mark.parametrize("iterations", [1, 3, 500])
def test_it_is_expectation_maximisation_as_the_sums_say(iterations: int) -> None:
    known, mixed = normal(400, 6.0, 0), torch.cat([normal(300, 6.0, 1), 2 * normal(150, 0.5, 2)])
    given = Evidence(seen=rows(known, labelled=True), unlabelled=rows(mixed, labelled=False))
    chosen = margin_mixture(given, iterations=iterations)
    found = [chosen.details[key] for key in ("absent_share", "absent_mean", "absent_variance")]
    assert [*found, chosen.offset] == pytest.approx(expected(known.numpy(), mixed.numpy(), iterations), rel=1e-3)
    assert chosen.evidence == {"seen": 400, "unlabelled": 450}


def test_multiplying_all_logits_multiplies_it() -> None:
    known, mixed = normal(400, 6.0, 0), torch.cat([normal(300, 6.0, 1), normal(150, 1.0, 2)])
    for factor in (1e-3, 1e3):
        chosen, other = (
            margin_mixture(Evidence(seen=rows(by * known, labelled=True), unlabelled=rows(by * mixed, labelled=False)))
            for by in (1.0, factor)
        )
        assert other.offset == pytest.approx(factor * chosen.offset, rel=1e-6)


def test_one_unlabelled_row_shows_no_population() -> None:
    known = rows(normal(500, 6.0, 0), labelled=True)
    with pytest.raises(BadInput, match="no second population"):
        margin_mixture(Evidence(seen=known, unlabelled=rows(torch.tensor([1.0], dtype=torch.float64), labelled=False)))
