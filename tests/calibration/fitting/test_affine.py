"""Affine maps: the reported objective's own gradient is zero, by automatic derivatives of the formula."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from reclaim.calibration.fitting import affine
from reclaim.calibration.fitting.affine import AffineFit, fit_diagonal, fit_matrix, kronecker, mean_nll
from reclaim.calibration.fitting.penalties import scaled
from reclaim.calibration.rows import Rows
from reclaim.core.several import Several
from tests.calibration.reference import sampled

K = 4
EYE = torch.eye(K, dtype=torch.float64)
IDENTITY = AffineFit(torch.ones(K).double(), torch.zeros(K).double(), 0.0, 0.0, 0, True)


def rows(n: int = 700, bend: float = 1.0) -> Rows:
    """Of a model with wrong scales and biases, and in several blocks."""
    z, y = sampled(n=n, c=K)
    z = bend * (z / torch.tensor([2.0, 1.0, 0.5, 1.3]) - torch.tensor([1.0, -0.5, 0.0, 0.7]))
    return Rows(z.double(), y, torch.ones(K, dtype=torch.bool))


def inputs(given: Rows) -> Callable[..., object]:
    return scaled(given, 1.0, size=4096)


def loss_of(given: Rows, scale: Tensor, shift: Tensor) -> Tensor:
    z = given.logits
    return cross_entropy((z @ scale.T if scale.ndim == 2 else z * scale) + shift, given.labels)


def diagonal(given: Rows, ridge: float, scale_ridge: float, w: Tensor, b: Tensor) -> Tensor:
    """``NLL + ridge mean((w - 1)^2 + b^2)``; w is [K], or [1] for a common one, whose square counts once."""
    return loss_of(given, w.expand(K), b) + (scale_ridge * (w - 1).square().sum() + ridge * b.square().sum()) / K


def full(given: Rows, off: float, intercept: float, diagonal: float, w: Tensor, b: Tensor) -> Tensor:
    away = w - EYE
    spread = off * away[EYE == 0].square().mean() + diagonal * away.diagonal().square().mean()
    return loss_of(given, w, b) + spread + intercept * b.square().mean()


def check(made: AffineFit, objective: Callable[[Tensor, Tensor], Tensor], given: Rows, *, common: bool = False) -> None:
    """Optimum, loss without the penalty, the gradient's largest entry, end."""
    scale = made.scale[:1] if common else made.scale
    w, b = scale.clone().requires_grad_(), made.shift.clone().requires_grad_()
    slopes = torch.cat([part.flatten() for part in torch.autograd.grad(objective(w, b), (w, b))])
    assert float(slopes.abs().max()) < 3e-5 and made.converged
    if made.scale.ndim == 2:  # it is measured in another basis, which keeps the length
        assert float(slopes.norm()) / 5 < made.gradient < 1.1 * float(slopes.norm())
    else:
        assert made.gradient == pytest.approx(float(slopes.abs().max()), rel=1e-4, abs=1e-9)
    assert made.nll == pytest.approx(float(loss_of(given, made.scale, made.shift)), rel=1e-9)
    assert made.scale.dtype == made.shift.dtype == torch.float64 and made.scale.shape[0] == K == len(made.shift)
    assert made.details() == {name: value for name, value in vars(made).items() if name not in ("scale", "shift")}


@pytest.mark.parametrize("scales", [True, False])
@pytest.mark.parametrize(("ridge", "scale_ridge"), [(0.0, None), (0.4, None), (0.02, 3.0), (3.0, 0.0)])
def test_a_diagonal_fit_is_the_optimum_of_its_formula(scales: bool, ridge: float, scale_ridge: float | None) -> None:
    given = rows()
    objective = partial(diagonal, given, ridge, ridge if scale_ridge is None else scale_ridge)
    fit = partial(fit_diagonal, inputs(given), K, ridge, scale_ridge=scale_ridge, scales=scales)
    made = fit()
    check(made, objective, given, common=not scales)
    assert made.iterations <= 16 and (scales or bool((made.scale == made.scale[0]).all()))
    again = fit(start=made)
    assert again.iterations <= 2
    torch.testing.assert_close(again.shift, made.shift, rtol=1e-4, atol=1e-4)
    short = fit(most=2)
    assert short.iterations == 2 and not short.converged
    assert fit(tolerance=1e-2).iterations < made.iterations


def test_logits_in_the_thousands_stay_finite() -> None:
    given = rows(bend=1000.0)
    for made in (fit_diagonal(inputs(given), K, 0.1), fit_matrix(inputs(given), K, 0.1, 0.1, 0.1, start=IDENTITY)):
        assert 0 < made.nll < float(loss_of(given, IDENTITY.scale, IDENTITY.shift)) and made.scale.isfinite().all()


def test_by_default_each_class_has_its_scale() -> None:
    assert float(fit_diagonal(inputs(rows()), K, 0.0).scale.std()) > 0.1


@pytest.mark.parametrize(
    ("off", "intercept", "of_diagonal", "steps"), [(0.0, 0.0, 0.0, 19), (0.7, 0.1, 0.2, 16), (5.0, 0.0, 0.01, 21)]
)
def test_a_full_fit_is_the_optimum_of_its_formula_from_wherever_it_starts(
    off: float, intercept: float, of_diagonal: float, steps: int
) -> None:
    given = rows(n=1500)
    first = fit_diagonal(inputs(given), K, 0.1)
    objective = partial(full, given, off, intercept, of_diagonal)
    fit = partial(fit_matrix, inputs(given), K, off, intercept, of_diagonal)
    made = fit(start=first)
    check(made, objective, given)
    assert made.iterations <= steps  # in the basis of the Hessian's factors
    again = fit(start=made)
    check(again, objective, given)
    assert again.iterations <= 3
    nearby = fit(start=first, factors=kronecker(inputs(rows(n=1000)), K, first))
    check(nearby, objective, given)
    torch.testing.assert_close(nearby.scale - nearby.scale.mean(0), made.scale - made.scale.mean(0), rtol=0, atol=2e-3)
    short = fit(start=first, most=2)
    assert short.iterations == 2 and not short.converged
    if off:  # a start is no part of what is found, nor of the penalty
        far = replace(first, scale=2 * first.scale + 0.5, shift=first.shift - 1)
        torch.testing.assert_close(fit(start=far).scale, made.scale, rtol=0, atol=2e-3)


def test_factors_that_are_given_are_the_basis_of_the_search() -> None:
    given, odd = rows(), (torch.ones(K).double(), EYE, torch.ones(K).double(), EYE)
    first = fit_diagonal(inputs(given), K, 0.1)
    made = [fit_matrix(inputs(given), K, 0.1, 0.1, 0.1, start=first, factors=own, most=3) for own in (None, odd)]
    assert made[0].nll != pytest.approx(made[1].nll, abs=1e-9)


@pytest.mark.parametrize("classes", [4, 200, 201])
def test_the_factors_are_those_of_inputs_and_outputs(classes: int) -> None:
    z, y = sampled(n=300, c=classes)
    given = Rows(z.double(), y, torch.ones(classes, dtype=torch.bool))
    at = AffineFit(torch.linspace(0.5, 1, classes).double(), torch.linspace(-1, 1, classes).double(), 0.0, 0.0, 0, True)
    a, basis_a, o, basis_o = kronecker(scaled(given, 1.0, size=1 << 15), classes, at)
    p = (given.logits * at.scale + at.shift).softmax(dim=1)
    expected = [given.logits.T @ given.logits / 300, (torch.diag(p.sum(dim=0)) - p.T @ p) / 300]
    for values, basis, whole in zip((a, o), (basis_a, basis_o), expected, strict=True):
        torch.testing.assert_close(basis.double() @ torch.diag(values) @ basis.T.double(), whole, rtol=1e-4, atol=1e-4)
        assert basis.dtype == (torch.float32 if classes > 200 else torch.float64) and values.dtype == torch.float64


@pytest.mark.parametrize("dense", [False, True])
def test_the_mean_loss_is_that_of_all_rows(dense: bool) -> None:
    given = rows(n=901)
    scale = torch.linspace(0.5, 2, K).double() if not dense else torch.arange(16.0).view(4, 4).double() / 10
    shift = torch.linspace(-1, 2, K).double()
    assert mean_nll(inputs(given), scale, shift) == pytest.approx(float(loss_of(given, scale, shift)), rel=1e-12)


def test_several_processes_add_up_what_each_makes_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    given = rows(n=901)
    at = fit_diagonal(inputs(given), K, 0.1)
    sums: list[Tensor] = []
    monkeypatch.setattr(Several, "summed", lambda self, own: sums.append(own) or own)
    for rank in range(2):
        monkeypatch.setattr(affine, "several", lambda rank=rank: Several(rank, 2))
        mean_nll(inputs(given), at.scale, at.shift)
    assert [int(one[1]) for one in sums] == [512, 389] or sum(int(one[1]) for one in sums) == 901
    assert all(one.dtype == torch.float64 for one in sums)
    assert float(sums[0][0] + sums[1][0]) / 901 == pytest.approx(float(loss_of(given, at.scale, at.shift)), rel=1e-12)


@pytest.mark.parametrize(("classes", "rough"), [(200, False), (201, True)])
def test_with_many_classes_it_ends_sooner(classes: int, rough: bool) -> None:
    z, y = sampled(n=600, c=classes)
    given = Rows((z + torch.linspace(-2, 2, classes)).double(), y, torch.ones(classes, dtype=torch.bool))
    fine, coarse = (fit_diagonal(scaled(given, 1.0), classes, 5.0, tolerance=size) for size in (1e-10, 1e-8))
    assert (fine.iterations == coarse.iterations) == rough


def test_sums_over_many_rows_in_single_precision_are_as_exact_as_in_double() -> None:
    z, y = sampled(n=300_000, c=K)
    losses = []
    for logits in (z, z.double()):
        blocks = scaled(Rows(logits, y, torch.ones(K, dtype=torch.bool)), 1.0)
        fitted = fit_diagonal(blocks, K, 0.1, most=1)
        losses.append((fitted.nll, mean_nll(blocks, IDENTITY.scale, IDENTITY.shift)))
    assert losses[0] == pytest.approx(losses[1], rel=3e-8)


def test_the_units_of_the_search_are_measured_on_some_eight_thousand_rows() -> None:
    reads: list[int] = []
    given = rows(n=20_000)

    def blocks(us: Several) -> Iterator[tuple[Tensor, Tensor]]:
        reads.append(0)
        for block in scaled(given, 1.0, size=32 * 1024)(us):
            reads[-1] += len(block[1])
            yield block

    fit_diagonal(blocks, K, 0.1, most=1)
    assert 8192 < reads[0] <= 8192 + 2048 and set(reads[1:]) == {20_000}


@pytest.mark.parametrize(("classes", "threads"), [(200, 1), (201, None)])
def test_threads_are_one_until_the_work_is_large(
    classes: int, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int | None] = []
    monkeypatch.setattr(affine, "threadpool_limits", lambda limit: limits.append(limit) or nullcontext())
    z, y = sampled(n=50, c=classes)
    blocks = scaled(Rows(z.double(), y, torch.ones(classes, dtype=torch.bool)), 1.0)
    first = fit_diagonal(blocks, classes, 1.0, most=1)
    fit_matrix(blocks, classes, 1.0, 1.0, 1.0, start=first, most=1)
    assert limits == [threads] * 2
