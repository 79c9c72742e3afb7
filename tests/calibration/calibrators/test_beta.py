"""Beta calibration: logistic regressions on ln p and -ln(1 - p)."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from reclaim.calibration.calibrators.beta import Beta
from reclaim.calibration.fitting.probabilities import binary_newton, cooled, log_odds
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Rows
from tests.calibration import laws
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


def test_the_map_is_the_logistic_function_of_its_line() -> None:
    _, z, _, seen = laws.bent_rows()
    a, b, c = (0.5, 1.0, 2.0, 0.0), (1.5, 0.0, 0.3, 1.0), (0.4, -0.7, 0.0, -2.0)
    made = Beta(1.7, a, b, c, Fitted(tuple(seen.tolist())))
    p = laws.cooled_by_hand(z[:, seen], 1.7)
    lines = [a[k] * p[:, k].log() - b[k] * (1 - p[:, k]).log() + c[k] for k in range(4)]
    laws.the_probabilities_are(made, z, torch.stack([1 / (1 + (-line).exp()) for line in lines], dim=1), 1 / 1.7)


def test_a_class_whose_slope_would_be_negative_is_the_regression_without_that_input() -> None:
    z, y = sampled(n=3000, c=3)
    z[:, 0] *= -1
    made = Beta.fit(z, y)
    p = laws.cooled_by_hand(z.double(), made.temperature)
    inputs, left_out = (p.log(), -(1 - p).log()), 0
    for k in range(3):
        both = torch.stack([part[:, k] for part in inputs], dim=1).numpy()
        model = LogisticRegression(C=1e9, tol=1e-10, max_iter=5000)
        slopes = model.fit(both, (y == k).numpy()).coef_[0]
        free = [i for i in range(2) if slopes[i] >= 0]
        left_out += len(free) == 1
        expected = [0.0, 0.0, made.c[k]]
        if free:
            model.fit(both[:, free], (y == k).numpy())
            for i, slope in zip(free, model.coef_[0], strict=True):
                expected[i] = max(0, slope)
            expected[2] = model.intercept_[0]
        assert [made.a[k], made.b[k], made.c[k]] == pytest.approx(expected, rel=0.02, abs=0.02)
    assert left_out


def test_a_class_without_rows_keeps_its_probability_and_the_others_are_their_regressions() -> None:
    rows, z, y, seen = laws.bent_rows()
    made = Beta.fit(z, y, seen)
    assert (made.a[3], made.b[3], made.c[3]) == (1.0, 1.0, 0.0)
    expected = binary_newton(rows, slopes=2, temperature=laws.best_temperature((z, y, seen)))
    assert bool((expected[:3, :2] > 0).all())
    torch.testing.assert_close(torch.tensor([made.a, made.b, made.c]).T[:3].double(), expected[:3])
