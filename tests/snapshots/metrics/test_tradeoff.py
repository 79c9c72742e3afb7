"""The trade-off curve: equal to brute force, and its closed forms."""

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import area, area_of, best, curve, steps_of
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


def test_the_best_offset_gives_the_accuracy_it_promises() -> None:
    z, y, seen = toys.logits()
    offset, value = best(curve(z, y, seen))
    assert accuracy(z + offset * ~seen, y, seen).all == pytest.approx(value, abs=1e-12)
    assert offset == pytest.approx(3.0, abs=0.7)  # the toy sank the absent logits by 3
    for criterion in ("balanced", "harmonic"):
        offset, value = best(curve(z, y, seen), criterion)
        lifted = accuracy(z + offset * ~seen, y, seen)
        expected = (lifted.seen + lifted.absent) / 2 if criterion == "balanced" else lifted.harmonic
        assert expected == pytest.approx(value, abs=1e-12)


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
