"""Beta calibration: logistic regressions on ln p and -ln(1 - p)."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from reclaim.calibration.calibrators.beta import Beta
from reclaim.calibration.fitting.probabilities import binary_newton, cooled, log_odds
from reclaim.calibration.rows import Rows
from tests.calibration.reference import sampled


def test_calibrated_probabilities_keep_the_identity() -> None:
    z, y = sampled(n=60_000, c=3)
    fitted = Beta.fit(z, y)
    for part, value in ((fitted.a, 1.0), (fitted.b, 1.0), (fitted.c, 0.0)):
        torch.testing.assert_close(torch.tensor(part), torch.full((3,), value), rtol=0, atol=0.12)


def test_it_is_the_logistic_regression_of_every_class() -> None:
    z, y = sampled(n=2000, c=3)
    found = binary_newton(Rows(z.double(), y, torch.ones(3, dtype=torch.bool)), slopes=2, temperature=1.7, width=1e5)
    inputs = torch.stack([part[:, 1] for part in log_odds(cooled(z, 1.7), 2)], dim=1).numpy()
    expected = LogisticRegression(C=1e11, tol=1e-10, max_iter=5000).fit(inputs, (y == 1).numpy())
    assert found[1].tolist() == pytest.approx([*expected.coef_[0], expected.intercept_[0]], rel=1e-3, abs=1e-3)


def test_slopes_are_never_negative_and_an_input_is_left_out_instead() -> None:
    z, y = sampled(n=3000, c=3)
    z[:, 0] *= -1
    fitted = Beta.fit(z, y)
    assert min(fitted.a) >= 0 and min(fitted.b) >= 0 and 0.0 in (*fitted.a, *fitted.b)
