"""Isotonic calibration: one function for all classes, or one per class."""

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from reclaim.calibration.calibrators import isotonic
from reclaim.calibration.calibrators.isotonic import Isotonic
from reclaim.calibration.fitting.probabilities import cooled
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests.calibration import laws
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


X = ([0.1, 0.5, 0.6, 0.9], [0.3], [0.0, 1.0], [0.2, 0.4])
Y = ([0.0, 0.3, 0.3, 1.0], [0.7], [0.0, 1.0], [0.1, 0.9])


@pytest.mark.parametrize("functions", [1, 4])
def test_the_map_is_straight_lines_between_points_and_a_trace(functions: int) -> None:
    _, z, _, seen = laws.bent_rows()
    x, y = (torch.tensor([one for own in part[:functions] for one in own], dtype=torch.float64) for part in (X, Y))
    made = Isotonic(1.7, x, y, tuple(map(len, X[:functions])), Fitted(tuple(seen.tolist())))
    p = laws.cooled_by_hand(z[:, seen], 1.7)
    own = [np.interp(p[:, k].numpy(), X[k % functions], Y[k % functions]) for k in range(4)]
    laws.the_probabilities_are(made, z, 0.99 * torch.from_numpy(np.stack(own, axis=1)) + 0.01 * p, 1 / 1.7)


def test_one_function_is_for_all_classes_and_other_numbers_of_them_are_refused() -> None:
    ends = torch.tensor([0.0, 1.0]).double()
    assert Isotonic(1.0, ends, ends, (2,), Fitted((True,) * 3)).keeps_order
    for count in (2, 4):
        with pytest.raises(BadInput, match=f"sizes must be 3 numbers, one for each seen class; given: {count}"):
            Isotonic(1.0, ends.repeat(count), ends.repeat(count), (2,) * count, Fitted((True,) * 3))


def test_the_shared_function_keeps_the_largest_and_one_for_each_class_need_not() -> None:
    z = torch.tensor([[0.51, 0.49], [0.49, 0.51]]).log().double()
    flat = torch.tensor([0.0, 1.0]).double(), torch.tensor([0.5, 0.5]).double()
    shared = Isotonic(1.0, *flat, (2,), Fitted((True, True)))
    assert torch.equal(shared(z).argmax(dim=1), torch.tensor([0, 1]))
    close = torch.tensor([[1e-17, 0.0]]).double()  # too close to be told apart once they are mapped
    assert float(shared(close)[0, 0] - shared(close)[0, 1]) > 0
    two = tuple(part.repeat(2) for part in flat)
    apart = Isotonic(1.0, *two, (2, 2), Fitted((True, True)))
    assert float(apart(close)[0, 0] - apart(close)[0, 1]) == 0


def test_each_class_has_the_regression_of_its_own_probabilities() -> None:
    rows, z, y, seen = laws.bent_rows()
    made = Isotonic.fit(z, y, seen, kind="one-vs-rest")
    assert made.temperature == pytest.approx(laws.best_temperature((z, y, seen))) and len(made.sizes) == 4
    p = laws.cooled_by_hand(z[:, seen], made.temperature)
    for k, (x, level) in enumerate(zip(made.x.split(made.sizes), made.y.split(made.sizes), strict=True)):
        if k == 3:
            assert x.tolist() == level.tolist() == [0.0, 1.0]
            continue
        one, hit = p[:, k].numpy(), (rows.labels == k).double().numpy()
        expected = IsotonicRegression(out_of_bounds="clip").fit(one, hit)
        np.testing.assert_allclose(np.interp(one, x.numpy(), level.numpy()), expected.predict(one), atol=1e-9)
        between = np.linspace(one.min(), one.max(), 999)
        np.testing.assert_allclose(np.interp(between, x.numpy(), level.numpy()), expected.predict(between), atol=1e-6)
        inner = (level.diff()[:-1] == 0) & (level.diff()[1:] == 0)
        assert not inner.any() and len(x) < len(one)  # only the two ends of every level piece


@pytest.mark.parametrize("kind", ["shared", "one-vs-rest"])
def test_equal_probabilities_are_one_point_at_their_mean(kind: str) -> None:
    z = torch.tensor([[0.0, 1.0]] * 4 + [[0.0, 2.0]] * 4 + [[1.0, 0.0]] * 2 + [[0.5, 0.0]] * 3).double()
    y = torch.tensor([0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 1])
    made = Isotonic.fit(z, y, kind=kind)
    p = laws.cooled_by_hand(z, made.temperature)
    pairs = (p.flatten(), torch.nn.functional.one_hot(y, 2).flatten()) if kind == "shared" else (p[:, 1], y)
    expected = IsotonicRegression(out_of_bounds="clip").fit(pairs[0].numpy(), pairs[1].double().numpy())
    x, level = made.x.split(made.sizes)[-1], made.y.split(made.sizes)[-1]
    for one in pairs[0].unique().tolist():
        assert np.interp(one, x.numpy(), level.numpy()) == pytest.approx(float(expected.predict([one])[0]))


@pytest.mark.parametrize("n", [65_536, 65_537])
def test_up_to_131072_pairs_every_one_counts_and_more_are_gathered_in_bins_a_thousandth_wide(n: int) -> None:
    z, y = sampled(n=n, c=2)
    z[0, 0], y[0] = z[0, 1] + 50, 0  # a probability of 1 is a bin too
    made = Isotonic.fit(2 * z, y)
    p = laws.cooled_by_hand(2 * z.double(), made.temperature).flatten()
    hit = torch.nn.functional.one_hot(y, 2).double().flatten().numpy()
    ends = (p.float().view(torch.int32) >> 13 << 13).view(torch.float32).double()  # without 13 bits: a bin's lower end
    assert bool((ends <= 1.0000001 * p).all()) and bool((p <= ends * (1 + 2**-10 + 1e-6)).all())
    x = ends if n > 65_536 else p
    assert bool(torch.isin(made.x, ends).all()) == (n > 65_536)
    expected = IsotonicRegression(out_of_bounds="clip").fit(x.numpy(), hit)
    some = x[::997].numpy()
    np.testing.assert_allclose(np.interp(some, made.x.numpy(), made.y.numpy()), expected.predict(some), atol=1e-4)


def test_what_is_less_than_the_least_counts_as_the_least() -> None:
    z, y = sampled(n=400, c=2)
    z = z.double()
    z[:3] = torch.tensor([[0.0, -200.0], [0.0, -300.0], [-100.0, 0.0]])
    y[:3] = torch.tensor([0, 0, 1])
    for kind in ("shared", "one-vs-rest"):
        made = Isotonic.fit(z, y, kind=kind)
        assert float(made.x.min()) == 1e-30
        far = torch.tensor([[0.0, -200.0], [0.0, -400.0]]).double()
        assert made.temperature < 2 and bool(made(far).isfinite().all())
    with pytest.raises(BadInput, match="kind must be one of"):
        Isotonic.fit(z, y, kind="one")


@pytest.mark.parametrize(("kind", "functions"), [("shared", 1), ("one-vs-rest", 5)])
def test_without_a_best_temperature_there_are_as_many_functions_all_of_them_the_identity(
    kind: str, functions: int
) -> None:
    z = sampled(n=100)[0]
    made = Isotonic.fit(z, z.argmax(dim=1), kind=kind)
    assert made.sizes == (2,) * functions and torch.equal(made.x, made.y) and made.x.tolist() == [0.0, 1.0] * functions
