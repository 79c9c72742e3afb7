"""Isotonic calibration: one function for all classes, or one per class."""

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from reclaim.calibration.calibrators import isotonic
from reclaim.calibration.calibrators.isotonic import Isotonic
from reclaim.calibration.fitting.probabilities import cooled
from reclaim.core.errors import BadInput
from tests.calibration.reference import nll, sampled


def test_the_shared_function_is_that_of_all_pairs() -> None:
    z, y = sampled(n=500)
    fitted = Isotonic.fit(4 * z, y)
    p = cooled(4 * z, fitted.temperature)
    hit = torch.nn.functional.one_hot(y, 5).double()
    expected = IsotonicRegression(out_of_bounds="clip").fit(p.reshape(-1).numpy(), hit.reshape(-1).numpy())
    made = np.interp(p.reshape(-1).numpy(), fitted.x.numpy(), fitted.y.numpy())
    np.testing.assert_allclose(made, expected.predict(p.reshape(-1).numpy()), atol=1e-6)


def test_narrow_bins_give_nearly_the_same_function(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = sampled(n=60_000)
    binned = Isotonic.fit(z[:30_000], y[:30_000])
    monkeypatch.setattr(isotonic, "_EXACT", 1 << 30)
    exact = Isotonic.fit(z[:30_000], y[:30_000])
    assert binned.sizes != exact.sizes
    assert abs(nll(binned(z[30_000:]), y[30_000:]) - nll(exact(z[30_000:]), y[30_000:])) < 1e-4


def test_probabilities_too_small_for_a_slope_do_no_harm() -> None:
    z, y = sampled(n=40_000, c=2)
    z = z.double()
    z[:2], y[:2] = torch.tensor([[0.0, -713.0], [0.0, -712.0]]), torch.tensor([0, 1])
    fitted = Isotonic.fit(z, y, kind="one-vs-rest")
    made = fitted(torch.tensor([[0.0, -712.5], [0.0, -712.999]], dtype=torch.float64))
    assert bool(made.isfinite().all())


def test_functions_never_fall() -> None:
    z, y = sampled()
    fitted = Isotonic.fit(z, y, kind="one-vs-rest")
    assert len(fitted.sizes) == 5
    for x, level in zip(fitted.x.split(fitted.sizes), fitted.y.split(fitted.sizes), strict=True):
        assert bool((x.diff() > 0).all()) and bool((level.diff() >= 0).all())


def test_a_class_without_rows_keeps_its_probability_against_the_rest() -> None:
    z, y = sampled()
    z, y = z[y < 4], y[y < 4]
    fitted = Isotonic.fit(z, y, torch.ones(5, dtype=torch.bool), kind="one-vs-rest")
    assert fitted.y.split(fitted.sizes)[4].tolist() == [0.0, 1.0]


def test_few_rows_per_class_are_refused_where_each_has_its_function() -> None:
    z, y = sampled(n=9)
    with pytest.raises(BadInput, match="The safer method here: kind='shared'"):
        Isotonic.fit(z, y, torch.ones(5, dtype=torch.bool), kind="one-vs-rest")
    Isotonic.fit(z, y, torch.ones(5, dtype=torch.bool))
