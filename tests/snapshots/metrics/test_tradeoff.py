"""The trade-off curve: equal to brute force, and its closed forms."""

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Curve, Steps, area, area_of, best, curve, curve_of, steps_of
from tests import toys


def brute_force(z: Tensor, y: Tensor, seen: Tensor, offset: float) -> tuple[float, float, float]:
    """The accuracies at one offset, by changing every logit."""
    found = accuracy(z.double() + offset * ~seen, y, seen)
    return found.seen, found.absent, found.all


@pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "tied"])
def test_it_equals_brute_force_between_every_two_breakpoints(rounded: bool) -> None:
    z, y, seen = toys.logits(n=150)
    z = (4 * z).round() / 4 if rounded else z
    points = curve(z, y, seen)
    breaks = margins(z, y, seen).margin.unique()
    between = torch.cat([breaks[:1] - 1, (breaks[1:] + breaks[:-1]) / 2, breaks[-1:] + 1])
    expected = [brute_force(z, y, seen, offset) for offset in between.tolist()]
    reached = {tuple(row) for row in torch.stack([points.seen, points.absent, points.all], 1).tolist()}
    assert reached == set(expected)
    for offset, *values in zip(points.offsets.tolist(), points.seen, points.absent, points.all, strict=True):
        assert tuple(map(float, values)) == brute_force(z, y, seen, offset)


def test_it_runs_from_all_seen_to_all_absent() -> None:
    z, y, seen = toys.logits()
    points, found = curve(z, y, seen), accuracy(z, y, seen)
    assert (float(points.seen[0]), float(points.absent[0])) == (found.seen_among_seen, 0.0)
    assert (float(points.seen[-1]), float(points.absent[-1])) == (0.0, found.absent_among_absent)
    assert bool((points.seen.diff() <= 0).all() and (points.absent.diff() >= 0).all())


def value_of(z: Tensor, y: Tensor, seen: Tensor, offset: float, criterion: str) -> float:
    """The criterion with an offset, by changing every logit."""
    found = accuracy(z.double() + offset * ~seen, y, seen)
    return {"overall": found.all, "balanced": (found.seen + found.absent) / 2, "harmonic": found.harmonic}[criterion]


@pytest.mark.parametrize("criterion", ["overall", "balanced", "harmonic"])
def test_the_best_offset_gives_the_accuracy_it_promises_and_no_offset_more_than_its_ceiling(criterion) -> None:
    z, y, seen = toys.logits()
    found = best(curve(z, y, seen), criterion)
    assert found.offset == pytest.approx(3.0, abs=0.7)  # the toy sank the absent logits by 3
    assert value_of(z, y, seen, found.offset, criterion) == pytest.approx(found.value, abs=1e-12)
    assert found.ceiling - 1.5 / len(y) <= found.value <= found.ceiling
    between = [value_of(z, y, seen, offset, criterion) for offset in curve(z, y, seen).offsets.tolist()]
    assert max(between) == pytest.approx(found.ceiling, abs=1e-12)


def of(lost: list[float], won: list[float]) -> Curve:
    """The curve of rows that an offset above these margins loses and wins."""
    parts = [torch.tensor(margins, dtype=torch.float64).sort().values for margins in (lost, won)]
    return curve_of(Steps(*parts, len(lost), len(won)))


def test_a_plateau_above_all_else_is_answered_by_its_middle() -> None:
    found = best(of([4.0] * 9 + [-2.0], [1.0] * 9 + [7.0]))
    assert found.offset == pytest.approx(2.5, abs=1e-6) and found.value == found.ceiling == pytest.approx(0.9)


def test_a_step_of_no_width_has_no_say() -> None:
    """Margins that rounding puts one way or the other, in the plateau and far from it: as good, or better by a row."""
    answers = []
    for last in (-1e-7, 1e-7):
        lost, won = [4.0] * 20 + [-6.0] * 3, [1.0] * 20 + [-6.0 + last]
        answers.append(best(of([*lost, -1.0, 0.5 + last], [*won, 0.5])).offset)
    assert answers[0] == pytest.approx(answers[1], abs=1e-5) and 1 < answers[0] < 4


def test_the_offset_follows_a_margin_that_passes_others_without_a_jump() -> None:
    random = torch.Generator().manual_seed(0)
    lost, won = (2 + torch.randn(80, generator=random).double()).tolist(), torch.randn(60, generator=random).tolist()
    path = [best(of([*lost, step / 2000], won)).offset for step in range(1000, 2500, 2)]
    moves = torch.tensor(path).diff().abs()
    assert float(moves.max()) < 0.02  # a row at most moves it by ten times as much as itself


def test_between_plateaus_that_are_alike_it_is_the_one_nearest_to_0_and_never_the_valley() -> None:
    for move in (0.0, 1e-9, -1e-9):
        found = best(of([1.0 + move] * 10, [2.0] * 10))  # all seen rows or all absent ones, and none in between
        assert found.offset == pytest.approx(0.0, abs=1e-6) and found.value == found.ceiling == 0.5
    one = best(of([1.0], [3.0]))
    assert one.value == 0.5 and one.offset == 0.0
    assert best(of([], [])).offset == 0.0


@pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "tied"])
def test_the_area_is_the_integral_of_the_curve(rounded: bool) -> None:
    z, y, seen = toys.logits()
    z = (4 * z).round() / 4 if rounded else z
    points = curve(z, y, seen)
    assert area(z, y, seen) == pytest.approx(
        float(torch.trapezoid(points.absent.flip(0), points.seen.flip(0))), abs=1e-12
    )


def test_the_area_splits_into_class_confusion_and_group_confusion() -> None:
    z, y, seen = toys.logits()
    m, found = margins(z, y, seen), accuracy(z, y, seen)
    auroc = roc_auc_score(m.is_seen[m.hit], m.margin[m.hit])
    assert area(z, y, seen) == pytest.approx(found.seen_among_seen * found.absent_among_absent * auroc, abs=1e-12)


def test_what_leaves_the_order_leaves_the_area() -> None:
    z, y, seen = toys.logits()
    z = z.double()
    plain = area(z, y, seen)
    assert area(z + 5 * ~seen, y, seen) == pytest.approx(plain, abs=1e-12)
    assert area(z + torch.randn(len(z), 1), y, seen) == pytest.approx(plain, abs=1e-12)
    assert area(3 * z, y, seen) == pytest.approx(plain, abs=1e-12)


def test_the_standard_error_is_that_of_resampling() -> None:
    z, y, seen = toys.logits(n=600)
    m = margins(z, y, seen)
    _, error = area_of(steps_of(m))
    random = torch.Generator().manual_seed(0)
    groups = [m.is_seen.nonzero().squeeze(1), (~m.is_seen).nonzero().squeeze(1)]
    values = []
    for _ in range(300):
        rows = torch.cat([g[torch.randint(0, len(g), (len(g),), generator=random)] for g in groups])
        values.append(area(z[rows], y[rows], seen))
    assert error == pytest.approx(float(torch.tensor(values).std()), rel=0.15)


def test_without_both_groups_there_is_no_area() -> None:
    z, y, seen = toys.logits()
    assert area(z[seen[y]], y[seen[y]], seen) is None
