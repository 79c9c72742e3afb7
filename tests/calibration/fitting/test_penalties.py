"""Cross-validation of penalties: rows that belong together are on one side, and the choice is that of plain fits."""

from collections.abc import Callable

import pytest
import torch

from reclaim.calibration.calibrators.order_preserving import OrderPreserving
from reclaim.calibration.calibrators.vector import Vector
from reclaim.calibration.fitting import penalties
from reclaim.calibration.fitting.affine import AffineFit, Blocks, fit_diagonal, fit_matrix, mean_nll
from reclaim.calibration.fitting.penalties import folds, full, prior_width, ridged, scaled
from reclaim.calibration.rows import Rows, calibration_rows
from reclaim.core.errors import BadInput
from reclaim.core.several import Several
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.calibration.reference import sampled


def rows(groups: torch.Tensor | None, n: int = 200) -> Snapshot:
    z, y, _ = toys.logits(n=n, seed=3)
    return Snapshot(z, y, torch.ones(7, dtype=torch.bool), groups=groups)


def test_folds_hold_whole_groups() -> None:
    groups = torch.arange(200) % 23
    made = folds(calibration_rows(rows(groups)))
    assert len(made) == 5 and sum(len(held) for _, held in made) == 200
    for part, held in made:
        assert len(part) + len(held) == 200
        assert not set(part.groups.tolist()) & set(held.groups.tolist())


def test_copies_in_groups_choose_the_penalty_that_the_rows_alone_do_not() -> None:
    """Copies on both sides of a division would look like new rows that a free map fits."""
    few = rows(None, n=60)
    copies, groups = few.rows(torch.arange(60).repeat(8)), torch.arange(60).repeat(8)
    together = Snapshot(copies.logits, copies.labels, copies.seen, groups=groups)
    strength = {"apart": Vector.fit(copies), "together": Vector.fit(together), "few": Vector.fit(few)}
    found = {name: made.fitted.details["ridge"] for name, made in strength.items()}
    assert found["together"] >= found["apart"] and found["apart"] != found["together"]


def test_one_group_cannot_be_divided() -> None:
    one = rows(torch.zeros(200, dtype=torch.int64))
    with pytest.raises(BadInput, match="all rows are of one group"):
        Vector.fit(one)
    Vector.fit(one, ridge=0.1)
    told = OrderPreserving.fit(one).fitted.details  # no step can be judged, so it is the temperature
    assert told["nll"] == pytest.approx(told["nll_temperature"])


WIDTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the normal prior, from stiff to free


def distorted(n: int, strength: float, groups: torch.Tensor | None = None) -> Rows:
    """Of a model whose classes have wrong scales and biases, by more or less."""
    random = torch.Generator().manual_seed(n)
    z, y = sampled(n=n, c=4, seed=n)
    z = (z - strength * torch.randn(4, generator=random)) / torch.exp(strength * torch.randn(4, generator=random))
    return Rows(z.double(), y, torch.ones(4, dtype=torch.bool), groups=groups)


def judged(given: Rows, fit: Callable[[Rows, float], AffineFit], inputs: Callable[[Rows], Blocks]) -> float:
    """The width whose fits make held-out rows most likely: each fitted alone, from the start, to the end."""
    losses: list[float] = []
    for width in WIDTHS:
        pairs = folds(given)
        losses.append(sum(mean_nll(inputs(held), *own(fit(part, width))) for part, held in pairs) / len(pairs))
        if len(losses) > 1 and losses[-1] > (1 + 1e-6) * losses[-2]:
            break
    return next(width for width, loss in zip(WIDTHS, losses, strict=False) if loss <= (1 + 1e-6) * min(losses))


def own(made: AffineFit) -> tuple[torch.Tensor, torch.Tensor]:
    return made.scale, made.shift


@pytest.mark.parametrize("scales", [False, True])
@pytest.mark.parametrize("n", [24, 300])
def test_a_ridge_is_the_one_that_rows_held_out_choose(scales: bool, n: int) -> None:
    chosen, beta = set(), 1.3
    for strength in (0.0, 0.2, 0.6):
        given = distorted(n, strength, torch.arange(n) // 2 if strength == 0.2 else None)

        def fit(part: Rows, width: float) -> AffineFit:
            return fit_diagonal(scaled(part, beta), 4, 4 / (2 * len(part) * width**2), scales=scales)

        width = judged(given, fit, lambda part: scaled(part, beta))
        made, ridge = ridged(given, beta, None, scales=scales)
        assert ridge == pytest.approx(4 / (2 * n * width**2), rel=1e-12)
        same, told = ridged(given, beta, ridge, scales=scales)
        torch.testing.assert_close(made.shift, same.shift, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(made.scale, fit(given, width).scale, rtol=1e-3, atol=1e-3)
        assert told == ridge and made.gradient < 1e-4 > same.gradient
        chosen.add(width)
    assert len(chosen) >= 2


@pytest.mark.parametrize(
    ("log_softmax", "n", "strength"), [(False, 24, 0.0), (True, 150, 1.2), (False, 300, 0.5), (True, 300, 0.0)]
)
def test_penalties_of_a_matrix_are_those_that_rows_held_out_choose(log_softmax: bool, n: int, strength: float) -> None:
    beta, given = 0.8, distorted(n, strength)

    def inputs(part: Rows) -> Blocks:
        return scaled(part, beta, log_softmax=log_softmax)

    x = beta * (given.logits.log_softmax(dim=1) if log_softmax else given.logits)
    reach = float(x.square().mean())

    def penalties(rows: int, width: float) -> tuple[float, float, float]:
        one = 4 / (2 * rows * width**2)  # of 4 biases and 4 on the diagonal; of 12 entries beside it, in their units
        return 12 * one * reach, one, one

    def fit(part: Rows, width: float) -> AffineFit:
        strengths = penalties(len(part), width)
        return fit_matrix(inputs(part), 4, *strengths, start=fit_diagonal(inputs(part), 4, strengths[1]))

    width = judged(given, fit, inputs)
    made, told = full(given, beta, None, None, log_softmax=log_softmax)
    off, intercept, _ = penalties(n, width)
    assert told == {"off_diagonal": pytest.approx(off), "intercept": pytest.approx(intercept)}
    torch.testing.assert_close(made.scale, fit(given, width).scale, rtol=1e-2, atol=5e-3)
    assert full(given, beta, 0.3, None, log_softmax=log_softmax)[1]["off_diagonal"] == 0.3
    assert full(given, beta, None, 0.3, log_softmax=log_softmax)[1]["intercept"] == 0.3


@pytest.mark.parametrize("log_softmax", [False, True])
def test_penalties_that_are_given_are_those_of_the_fit_with_the_widest_ridge_on_the_diagonal(log_softmax: bool) -> None:
    given = distorted(200, 0.4)
    blocks = scaled(given, 0.8, log_softmax=log_softmax)
    made, told = full(given, 0.8, 0.2, 0.7, log_softmax=log_softmax)
    free = fit_matrix(blocks, 4, 0.2, 0.7, 4 / (2 * 200 * 10**2), start=fit_diagonal(blocks, 4, 0.7))
    torch.testing.assert_close(made.scale, free.scale, rtol=0, atol=3e-3)
    torch.testing.assert_close(made.shift, free.shift, rtol=0, atol=3e-3)
    assert told == {"off_diagonal": 0.2, "intercept": 0.7} and made.converged


def test_a_matrix_of_very_many_rows_and_classes_takes_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    given = distorted(400, 0.6)
    assert penalties._WORK == 4_294_967_296 and full(given, 1.0, None, None)[0].iterations > 4
    monkeypatch.setattr(penalties, "_WORK", 400 * 16)
    assert full(given, 1.0, None, None)[0].iterations > 4
    monkeypatch.setattr(penalties, "_WORK", 400 * 16 - 1)
    made, _ = full(given, 1.0, None, None)
    assert made.iterations == 4 and not made.converged
    assert made.nll == pytest.approx(mean_nll(scaled(given, 1.0), made.scale, made.shift))


def test_the_search_for_a_width_ends_where_it_gets_worse_and_takes_the_stiffest_of_equals() -> None:
    given, tried = distorted(50, 0.0), []

    def search(losses: list[float]) -> float:
        tried.clear()

        def fit(part: Rows, width: float, start: AffineFit | None) -> AffineFit:
            tried.append(width)
            assert (start is None) == (len(tried) <= 5) and (start is None or start.iterations == len(tried) - 5)
            shift = torch.tensor(
                [0.0, losses[WIDTHS.index(width)]], dtype=torch.float64
            )  # which the loss is, see below
            return AffineFit(torch.ones(2).double(), shift, 0.0, 0.0, len(tried), True)

        def inputs(part: Rows) -> Blocks:
            far = torch.tensor([[0.0, 50.0]]).double()
            return lambda us: iter([(far, torch.zeros(1, dtype=torch.long))])

        width, made = prior_width(given, fit, inputs)
        assert made.shift[1] == losses[WIDTHS.index(width)]
        return width

    assert search([6, 5, 4, 3, 2, 1, 0]) == 10.0 and len(tried) == 35
    assert search([6, 5, 4, 4.1, 0, 0, 0]) == 0.1 and len(tried) == 20
    assert search([6, 6.1, 0, 0, 0, 0, 0]) == 0.01 and len(tried) == 10
    assert search([6, 5, 5 + 2e-5, 4, 5, 5, 5]) == 0.3 and len(tried) == 25  # no worse than fits are exact to
    assert search([3, 3, 3, 3, 3, 3, 3]) == 0.01 and len(tried) == 35
    assert search([6, 3 + 2e-5, 3, 3.2, 3, 3, 3]) == 0.03
    assert search([6, 3 + 2e-4, 3, 3.2, 3, 3, 3]) == 0.1


@pytest.mark.parametrize("logits", [1 << 18, (1 << 18) + 2, 1 << 23, (1 << 23) + 2])
def test_folds_are_five_one_where_there_are_many_logits_and_of_a_sample_where_very_many(logits: int) -> None:
    n = logits // 2
    given = Rows(
        torch.arange(n)[:, None].expand(n, 2), torch.zeros(n, dtype=torch.long), torch.ones(2, dtype=torch.bool)
    )
    made = folds(given)
    used = min(n, 1 << 22)
    assert len(made) == (5 if logits == 1 << 18 else 1)
    for part, held in made:
        assert len(part) + len(held) == used and abs(len(held) - used / 5) <= 4
    apart = torch.cat([held.logits[:, 0] for _, held in made])
    assert len(apart.unique()) == len(apart)
    again = folds(given)[0][1].logits[:, 0]
    assert torch.equal(again, made[0][1].logits[:, 0]) and not torch.equal(again, torch.arange(len(again)))


def test_two_groups_are_enough_for_a_division() -> None:
    made = folds(distorted(40, 0.0, torch.arange(40) // 20))
    assert [(len(part), len(held)) for part, held in made] == [(20, 20), (20, 20)]


@pytest.mark.parametrize("log_softmax", [False, True])
def test_rows_come_in_blocks_of_a_size_and_each_process_has_its_own(log_softmax: bool) -> None:
    given = distorted(5000, 0.4)
    expected = 0.7 * (given.logits.log_softmax(dim=1) if log_softmax else given.logits)
    made = [x for x, _ in scaled(given, 0.7, log_softmax=log_softmax, size=1 << 14)(Several())]
    assert [len(x) for x in made] == [512] * 9 + [392]
    torch.testing.assert_close(torch.cat(made), expected)
    parts = [list(scaled(given, 0.7, log_softmax=log_softmax, size=1 << 14)(Several(rank, 2))) for rank in range(2)]
    assert [len(part) for part in parts] == [5, 5]
    torch.testing.assert_close(torch.cat([x for part in parts for x, _ in part]), expected)
    assert torch.equal(torch.cat([y for part in parts for _, y in part]), given.labels)
