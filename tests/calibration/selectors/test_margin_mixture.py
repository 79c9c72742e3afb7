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


def expected(known: np.ndarray, d: np.ndarray, iterations: int) -> tuple[float, float, float, float] | None:
    """Share, mean and variance of the absent rows and the offset, by sums over all pairs in place of a grid; None
    where there is no second population."""
    both = np.concatenate([known, d])
    width = max(1.06 * known.std(ddof=1) * len(known) ** -0.2, np.ptp(both) / 1024)

    def seen_density(x: np.ndarray) -> np.ndarray:
        return norm.pdf(np.asarray(x)[..., None], known, width).mean(axis=-1)

    f, spread = seen_density(d), d.std(ddof=1)
    q, m, v = 0.5, np.quantile(d, 0.25), spread**2 / 4
    for _ in range(iterations):
        absent, seen = q * norm.pdf(d, m, v**0.5), (1 - q) * f
        duty = np.divide(absent, absent + seen, out=np.zeros_like(d), where=absent + seen > 0)
        if duty.sum() < 1:
            return None
        q, m = duty.mean(), (duty * d).sum() / duty.sum()
        v = max((duty * (d - m) ** 2).sum() / duty.sum(), (spread / 100) ** 2)
    if m >= known.mean() - known.std(ddof=1) / 2:
        return None

    def ahead(x: np.ndarray) -> np.ndarray:
        return (1 - q) * seen_density(x) - q * norm.pdf(x, m, v**0.5)

    x = np.linspace(m, both.max() + 4 * width, 5001)
    at = int((ahead(x) >= 0).argmax())
    if ahead(x[at]) < 0:  # nowhere
        return q, m, v, x[-1]
    return q, m, v, brentq(ahead, x[at - 1], x[at]) if at else m


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


def test_on_few_rows_of_any_scale_it_is_what_the_sums_say() -> None:
    """Populations near and far, few rows and iterations, so that every way to end is taken."""
    random = np.random.default_rng(3)
    ends = {"none": 0, "at the mean": 0, "crossing": 0, "beyond all": 0}
    for number in range(100):
        n, many = int(random.integers(4, 30)), int(random.integers(3, 40))
        scale, place = 10.0 ** random.uniform(-3, 3), random.normal(0, 5)
        known = scale * (place + random.normal(0, 1, n))
        far, wide, share = random.uniform(0, 9), random.uniform(0.02, 3), random.uniform(0, 1)
        low, high = random.normal(-far, wide, many), random.normal(0, 1, many)
        d = scale * (place + np.where(random.random(many) < share, low, high))
        iterations = [1, 2, 5, 40][number % 4]
        given = Evidence(
            seen=rows(torch.from_numpy(known), labelled=True), unlabelled=rows(torch.from_numpy(d), labelled=False)
        )
        wanted = expected(known, d, iterations)
        try:
            chosen = margin_mixture(given, iterations=iterations)
        except BadInput:
            assert wanted is None
            ends["none"] += 1
            continue
        assert wanted is not None
        share, mean, variance, offset = wanted
        assert chosen.details["absent_share"] == pytest.approx(share, abs=2e-3)
        assert chosen.details["absent_mean"] == pytest.approx(mean, abs=2e-3 * scale)
        assert chosen.details["absent_variance"] == pytest.approx(variance, rel=2e-3)
        assert chosen.offset == pytest.approx(offset, abs=6e-3 * scale)
        ends["at the mean" if offset == mean else "beyond all" if offset > max(*known, *d) else "crossing"] += 1
    assert min(ends.values()) >= 2, ends


def test_moving_all_margins_far_away_moves_it_by_as_much() -> None:
    known, mixed = normal(400, 6.0, 0), torch.cat([normal(300, 6.0, 1), normal(150, 1.0, 2)])
    here, there = (
        margin_mixture(Evidence(seen=rows(known + by, labelled=True), unlabelled=rows(mixed + by, labelled=False)))
        for by in (0.0, 1e5)
    )
    assert there.offset - 1e5 == pytest.approx(here.offset, abs=1e-6)
    assert there.details["absent_share"] == pytest.approx(here.details["absent_share"], abs=1e-6)


def test_seen_rows_that_are_nearly_equal_are_a_population_all_the_same() -> None:
    known, same = 6 + 1e-9 * normal(50, 0.0, 0), 6 + 1e-9 * normal(30, 0.0, 1)
    mixed = torch.cat([same, normal(10, 0.0, 2)])
    chosen = margin_mixture(Evidence(seen=rows(known, labelled=True), unlabelled=rows(mixed, labelled=False)))
    assert chosen.details["absent_share"] == pytest.approx(0.25, abs=1e-3)
    assert float(mixed[30:].max()) < chosen.offset < 6
    assert (
        chosen.reason
        == f"25% of 40 unlabelled rows have margins unlike those of seen rows (around {mixed[30:].mean():.1f})"
    )


@pytest.mark.parametrize("known", [torch.tensor([6.0]), torch.full((9,), 6.0)])
def test_one_margin_alone_is_no_population(known: torch.Tensor) -> None:
    mixed = rows(torch.cat([normal(30, 6.0, 0), normal(20, 0.0, 1)]), labelled=False)
    with pytest.raises(BadInput, match="no second population"):
        margin_mixture(Evidence(seen=rows(known.double(), labelled=True), unlabelled=mixed))
    with pytest.raises(BadInput, match="no second population"):  # far below, but one row or as good as one
        margin_mixture(
            Evidence(seen=rows(normal(30, 6.0, 0), labelled=True), unlabelled=rows(known.double() - 99, labelled=False))
        )
