"""Scaling, then binning: bins hold means of the line's outputs, not of labels."""

from dataclasses import replace

import pytest
import torch

from reclaim.calibration.calibrators.scaling_binning import ScalingBinning
from reclaim.calibration.fitting.knots import bin_means
from reclaim.calibration.fitting.probabilities import binary_newton, cooled, log_odds
from reclaim.calibration.protocol import Fitted
from tests.calibration import laws
from tests.calibration.reference import sampled


def test_a_bin_holds_the_mean_of_the_mapped_probabilities() -> None:
    z, y = sampled(n=600)
    fitted = ScalingBinning.fit(z, y, bins=6)
    odds = log_odds(cooled(z, fitted.temperature), 1)[0][:, 2]
    lined = (odds * fitted.slopes[2] + fitted.intercepts[2]).sigmoid()
    edges, values = fitted.edges.split(fitted.sizes)[2], fitted.values.split(fitted.sizes)[2]
    index = torch.bucketize(lined, edges)
    for bin in range(len(edges)):
        torch.testing.assert_close(values[bin], lined[index == bin].mean())


def test_binary_calibrated_scores_keep_the_identity_line() -> None:
    z, y = sampled(n=40_000, c=2)
    fitted = ScalingBinning.fit(z, y)
    torch.testing.assert_close(torch.tensor(fitted.slopes), torch.ones(2), rtol=0, atol=0.05)
    torch.testing.assert_close(torch.tensor(fitted.intercepts), torch.zeros(2), rtol=0, atol=0.05)


def test_the_map_is_the_mean_of_the_bin_of_the_line_and_a_trace_of_the_line() -> None:
    _, z, _, seen = laws.bent_rows()
    slopes, intercepts, inf = (0.5, 1.0, 2.0, 0.3), (0.4, 0.0, -1.0, 0.2), float("inf")
    edges, values = [0.2, 0.6, inf, inf, 0.5, inf, inf], [0.1, 0.3, 0.9, 0.5, 0.0, 1.0, 0.4]
    points = (torch.tensor(part, dtype=torch.float64) for part in (edges, values))
    made = ScalingBinning(
        1.7, slopes, intercepts, *points, (3, 1, 2, 1),
        Fitted(tuple(seen.tolist())),
    )  # fmt: skip
    p = laws.cooled_by_hand(z[:, seen], 1.7)
    q = 1 / (1 + (-((p / (1 - p)).log() * p.new_tensor(slopes) + p.new_tensor(intercepts))).exp())
    one = torch.ones(len(p), dtype=torch.float64)
    own = [torch.where(q[:, 0] <= 0.2, 0.1 * one, torch.where(q[:, 0] <= 0.6, 0.3 * one, 0.9 * one)), 0.5 * one]
    own += [torch.where(q[:, 2] <= 0.5, 0.0, 1.0), torch.full_like(q[:, 3], 0.4)]
    laws.the_probabilities_are(made, z, 0.99 * torch.stack(own, dim=1) + 0.01 * q, 1 / 1.7)


def test_each_class_has_the_line_of_its_own_regression_and_the_means_of_its_own_bins() -> None:
    rows, z, y, seen = laws.bent_rows()
    z[:, 1] *= -2  # so that this class's line would fall
    made = ScalingBinning.fit(z, y, seen, bins=4)
    assert made.temperature == pytest.approx(laws.best_temperature((z, y, seen)))
    p = laws.cooled_by_hand(z[:, seen], made.temperature)
    odds = (p / (1 - p)).log()
    regressions = binary_newton(replace(rows, logits=z), slopes=1, temperature=made.temperature)
    assert float(regressions[1, 0]) < 0
    for k in range(4):
        line = [made.slopes[k], made.intercepts[k]]
        assert line == pytest.approx([1.0, 0.0] if k in (1, 3) else regressions[k].tolist())
        lined = 1 / (1 + (-(odds[:, k] * line[0] + line[1])).exp())
        edges, values = made.edges.split(made.sizes)[k], made.values.split(made.sizes)[k]
        for own, expected in zip((edges, values), bin_means(lined, lined, 4), strict=True):
            assert own.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
