"""Scaling, then binning: bins hold means of the line's outputs, not of labels."""

import torch

from reclaim.calibration.calibrators.scaling_binning import ScalingBinning
from reclaim.calibration.fitting.probabilities import cooled, log_odds
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
