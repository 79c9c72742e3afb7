"""Histogram binning, by hand."""

import pytest
import torch

from reclaim.calibration.calibrators.histogram import Histogram
from reclaim.calibration.fitting.knots import bin_edges, bin_means
from reclaim.calibration.fitting.probabilities import TRACE, cooled
from reclaim.calibration.protocol import Fitted
from tests.calibration import laws
from tests.calibration.reference import sampled


def test_two_bins_of_two_classes_by_hand() -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.7, 0.8], dtype=torch.float64)
    y = torch.tensor([0, 1, 0, 1, 1, 1])
    z = torch.stack([1 - p, p], dim=1).log()
    fitted = Histogram.fit(z, y, bins=2)
    q = cooled(z, fitted.temperature)[:, 1]
    edges, values = fitted.edges.split(fitted.sizes)[1], fitted.values.split(fitted.sizes)[1]
    assert edges.tolist() == pytest.approx([float(q[2] + q[3]) / 2, float("inf")])
    assert values.tolist() == pytest.approx([1 / 3, 1.0])
    made = fitted(z).softmax(dim=1)[0, 1]
    high, low = (1 - TRACE) / 3 + TRACE * float(q[0]), (1 - TRACE) * 2 / 3 + TRACE * float(1 - q[0])
    assert float(made) == pytest.approx(high / (high + low))


def test_equal_values_share_a_bin() -> None:
    values = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0, 3.0])
    assert bin_edges(values, 2).tolist() == [1.5, float("inf")]
    values = torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0, 3.0])
    assert bin_edges(values, 2).tolist() == [2.5, float("inf")]


def test_cuts_part_the_rows_and_the_sum_evenly() -> None:
    p = torch.cat([torch.full((90,), 0.01) + torch.arange(90) * 1e-6, torch.linspace(0.1, 1, 10)]).double()
    edges = bin_edges(p, 7)
    sizes = torch.bincount(torch.bucketize(p, edges))
    assert len(edges) == 7 and sizes.tolist()[:3] == [25, 25, 25]  # four parts of the rows
    sums = p.cumsum(0)[torch.searchsorted(p, edges[3:-1], right=True) - 1]  # four parts of the sum
    assert sums.tolist() == pytest.approx([float(p.sum()) * q for q in (0.25, 0.5, 0.75)], abs=1.0)


def test_probabilities_that_are_mostly_zero_keep_their_bins() -> None:
    p = torch.tensor([0.0] * 80 + [0.4] * 10 + [1.0] * 10, dtype=torch.float64)
    assert bin_edges(p, 15).tolist() == pytest.approx([0.2, 0.7, float("inf")])


def test_with_many_classes_the_right_answers_stay_apart_from_the_rest() -> None:
    random = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(20_000, 50, generator=random)
    y = torch.distributions.Categorical(logits=z).sample()
    fitted = Histogram.fit(z[:10_000], y[:10_000])
    before, after = ((t[10_000:].argmax(dim=1) == y[10_000:]).double().mean() for t in (z, fitted(z)))
    assert after > before - 0.02


def test_a_class_without_rows_keeps_its_probability() -> None:
    z, y = sampled()
    z, y = z[y < 4], y[y < 4]
    fitted = Histogram.fit(z, y, torch.ones(5, dtype=torch.bool))
    assert fitted.sizes[4] == 1 and bool(fitted.values[-1].isnan())
    assert bool(fitted(z).isfinite().all())


def test_the_map_is_the_value_of_the_bin_and_a_trace() -> None:
    _, z, _, seen = laws.bent_rows()
    inf = float("inf")
    edges, values = [0.2, 0.6, inf, inf, 0.5, inf, inf], [0.1, 0.3, 0.9, float("nan"), 0.0, 1.0, 0.4]
    made = Histogram(
        1.7,
        torch.tensor(edges, dtype=torch.float64),
        torch.tensor(values, dtype=torch.float64),
        (3, 1, 2, 1),
        Fitted(tuple(seen.tolist())),
    )
    p = laws.cooled_by_hand(z[:, seen], 1.7)
    one = torch.ones(len(p), dtype=torch.float64)
    own = [torch.where(p[:, 0] <= 0.2, 0.1 * one, torch.where(p[:, 0] <= 0.6, 0.3 * one, 0.9 * one)), p[:, 1]]
    own += [torch.where(p[:, 2] <= 0.5, 0.0, 1.0), torch.full_like(p[:, 3], 0.4)]
    laws.the_probabilities_are(made, z, 0.99 * torch.stack(own, dim=1) + 0.01 * p, 1 / 1.7)


def test_each_class_has_the_frequencies_of_its_own_bins() -> None:
    rows, z, y, seen = laws.bent_rows()
    made = Histogram.fit(z, y, seen, bins=4)
    assert made.temperature == pytest.approx(laws.best_temperature((z, y, seen)))
    p = laws.cooled_by_hand(z[:, seen], made.temperature)
    for k, (edges, values) in enumerate(zip(made.edges.split(made.sizes), made.values.split(made.sizes), strict=True)):
        if k == 3:
            assert edges.tolist() == [float("inf")] and bool(values.isnan().all())
        else:
            expected = bin_means(p[:, k], (rows.labels == k).double(), 4)
            torch.testing.assert_close(
                torch.stack([edges[:-1], values[:-1]]), torch.stack([part[:-1] for part in expected])
            )
            assert values[-1] == pytest.approx(float(expected[1][-1]))
