"""Two models' answers as one: the ends are the models, between them lies the geometric mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.models.predict import predict
from reclaim.repairs.mixtures import OutputMixture, OutputMixtures, WeightMixtures, aligned, kept, mixed
from reclaim.repairs.rows import Both, Part
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.repairs.conftest import TARGET

BEFORE, AFTER = (toys.logits(n=9, c=5, seed=seed)[0] for seed in (0, 1))
NAMES = tuple("abcde")
OTHER_ORDER = [3, 0, 4, 1, 2]
LIFT = LogitOffset(1.5, Fitted((True, False, True, True, False), NAMES), (0.25, -0.5, -0.25, 0.0, 0.5))
ADDED = torch.tensor([0.25, 1.0, -0.25, 0.0, 2.0])  # by hand: the shifts, and 1.5 for the second and the last class


def snapshots(n: int = 9) -> tuple[Snapshot, Snapshot]:
    """The answers of two models on the same labelled rows."""
    y = torch.arange(n) % 5
    pair = (
        Snapshot(z[:n], y, torch.tensor(LIFT.fitted.seen), torch.ones(n, 3), classes=NAMES) for z in (BEFORE, AFTER)
    )
    return next(pair), next(pair)


def turned(rows: Snapshot, order: list[int] = OTHER_ORDER) -> Snapshot:
    """The same answers from a model that has its classes in another order."""
    labels = None if rows.labels is None else torch.tensor([order.index(y) for y in rows.labels.tolist()])
    names = tuple(rows.classes[column] for column in order)
    return replace(rows, logits=rows.logits[:, order], labels=labels, seen=rows.seen[order], classes=names)


# --- numbers


@pytest.mark.parametrize(("alpha", "model"), [(0.0, BEFORE), (1.0, AFTER)])
def test_the_ends_are_exactly_the_models_and_then_comes_the_offset(alpha: float, model: Tensor) -> None:
    assert torch.equal(mixed(BEFORE, AFTER, alpha), model.log_softmax(dim=1))
    made = OutputMixture(alpha, LIFT)(BEFORE, AFTER)
    torch.testing.assert_close(made, model.log_softmax(dim=1) + ADDED)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.8])
def test_between_them_lies_the_geometric_mean(alpha: float) -> None:
    first, last = BEFORE.softmax(dim=1), AFTER.softmax(dim=1)
    torch.testing.assert_close(mixed(BEFORE, AFTER, alpha).exp(), first ** (1 - alpha) * last**alpha)


def test_a_case_by_hand() -> None:
    before, after = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.2, 0.8]]).log()
    torch.testing.assert_close(mixed(before, after, 0.5).exp(), torch.tensor([[0.1, 0.4]]).sqrt())


def test_a_constant_on_a_row_of_either_model_changes_nothing() -> None:
    constants = torch.linspace(-30, 30, 9)[:, None]
    made = mixed(BEFORE, AFTER, 0.3)
    torch.testing.assert_close(mixed(BEFORE + constants, AFTER, 0.3), made, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed(BEFORE, AFTER - constants, 0.3), made, atol=1e-5, rtol=1e-5)


def test_a_row_is_mixed_in_the_same_way_among_very_many() -> None:
    before, after = (z.repeat(20_000, 1) for z in (BEFORE, AFTER))  # more than one block
    torch.testing.assert_close(mixed(before, after, 0.3)[-9:], mixed(BEFORE, AFTER, 0.3))


# --- kinds of arrays


def test_arrays_leave_as_they_came() -> None:
    mixture = OutputMixture(0.4, LIFT)
    expected = mixture(BEFORE, AFTER)
    made = mixture(BEFORE.numpy(), AFTER.numpy())
    assert isinstance(expected, Tensor) and isinstance(made, np.ndarray)
    assert made.dtype == np.float32 and np.array_equal(made, expected.numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_mixed_in_single_precision(dtype: torch.dtype) -> None:
    before, after = BEFORE.to(dtype), AFTER.to(dtype)
    made = mixed(before, after, 0.4)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, mixed(before.float(), after.float(), 0.4))
    assert mixed(before, after.double(), 0.4).dtype == torch.float64


# --- what is refused


@pytest.mark.parametrize("alpha", [-0.1, 1.01, float("nan")])
def test_an_alpha_that_is_no_share_is_refused(alpha: float) -> None:
    with pytest.raises(BadInput, match=f"between 0 and 1; given: {alpha}"):
        mixed(BEFORE, AFTER, alpha)
    with pytest.raises(BadInput, match=r"alpha must be|between 0 and 1"):
        OutputMixture(alpha, LIFT)(BEFORE, AFTER)


def test_logits_of_other_rows_or_classes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"same shape; given: \[8, 5\] and \[9, 5\]"):
        mixed(BEFORE[:8], AFTER, 0.5)
    with pytest.raises(BadInput, match=r"given: \[9, 1\] and \[9, 5\]"):  # which would broadcast
        mixed(BEFORE[:, :1], AFTER, 0.5)
    with pytest.raises(BadInput, match="for 5 classes; the logits have 4 columns"):
        OutputMixture(0.5, LIFT)(BEFORE[:, :4], AFTER[:, :4])


# --- snapshots


def test_classes_are_matched_by_name() -> None:
    before, after = snapshots()
    first, last = aligned(turned(before), after)
    assert first.classes == last.classes == NAMES
    assert torch.equal(first.logits, BEFORE) and torch.equal(first.labels, after.labels)
    first, last = aligned(before, after, tuple("edcba"))
    assert first.classes == last.classes == tuple("edcba")
    assert torch.equal(first.logits, BEFORE.flip(1)) and torch.equal(last.logits, AFTER.flip(1))
    assert torch.equal(last.labels, 4 - after.labels) and torch.equal(first.labels, last.labels)


def test_labels_of_the_one_are_those_of_both() -> None:
    before, after = snapshots()
    for pair in ((turned(before), after.unlabelled()), (turned(before).unlabelled(), after)):
        assert all(torch.equal(rows.labels, after.labels) for rows in aligned(*pair))
    assert all(rows.labels is None for rows in aligned(before.unlabelled(), after.unlabelled()))


def test_the_fine_tuned_model_says_which_classes_are_seen() -> None:
    before, after = snapshots()
    first, last = aligned(replace(before, seen=~before.seen), after)
    assert torch.equal(first.seen, after.seen) and torch.equal(last.seen, after.seen)


def test_other_rows_and_other_classes_are_refused() -> None:
    before, after = snapshots()
    with pytest.raises(BadInput, match=r"different rows \(8 and 9\)(.|\n)*on the same split, in the same order"):
        aligned(snapshots(8)[0], after)
    with pytest.raises(BadInput, match=r"different rows \(8 and 9\)"):
        aligned(snapshots(8)[0].unlabelled(), after)
    with pytest.raises(BadInput, match=r"different rows \(9 and 9\)"):
        aligned(before.rows(torch.arange(8, -1, -1)), after)
    with pytest.raises(BadInput, match="only one has: e\n  only the other has: f"):
        aligned(before, replace(after, classes=tuple("abcdf")))
    with pytest.raises(BadInput, match="different classes"):
        aligned(before, after, tuple("abcd"))


def test_of_snapshots_it_makes_what_it_makes_of_their_logits_in_any_order_of_classes() -> None:
    before, after = snapshots()
    mixture = OutputMixture(0.4, LIFT)
    expected = mixture(BEFORE, AFTER)
    for pair in ((before, after), (turned(before), after), (turned(before, [4, 3, 2, 1, 0]), turned(after))):
        made = mixture.of(*pair)
        torch.testing.assert_close(made.logits, expected)
        assert made.classes == NAMES and torch.equal(made.labels, after.labels)
        assert made.seen.tolist() == list(LIFT.fitted.seen) and made.features is None


# --- what a repair asks of


def test_mixed_weights_answer_between_the_two_models_and_read_each_row_once(pair) -> None:
    before, after = pair
    val, read = TARGET.split("val"), []
    counted = Part(TARGET, replace(val, read=lambda i: read.append(i) or val.read(i)), "rows")
    mixtures = WeightMixtures(before, after, TARGET.split("train"))
    for alpha, model in ((0.0, before), (1.0, after), (0.0, before), (1.0, after)):
        made = mixtures.answers(alpha, counted)
        torch.testing.assert_close(made.logits, predict(model, TARGET, "val").logits)
        assert made.split == "rows" and made.classes == TARGET.classes
    assert len(read) == 2 * len(val)
    mixtures.answers(1.0, counted.named("others"))
    assert len(read) == 3 * len(val)


def test_mixed_outputs_answer_for_the_rows_they_are_asked_about() -> None:
    both, mixtures = Both(*aligned(*snapshots())), OutputMixtures()
    some = both.rows(torch.tensor([4, 1]))
    for rows, expected in ((both, BEFORE), (some, BEFORE[[4, 1]])):
        torch.testing.assert_close(mixtures.answers(0.0, rows).logits, expected.log_softmax(dim=1))
    assert torch.equal(mixtures.answers(0.3, both).logits, mixed(BEFORE, AFTER, 0.3))


def test_the_latest_answers_are_kept_by_all_that_was_asked() -> None:
    class Doubling:
        def __init__(self) -> None:
            self.asked: list[int] = []

        @kept(most=2)
        def twice(self, number: int, *, plus: int = 0) -> int:
            self.asked.append(number)
            return 2 * number + plus

    one, other = Doubling(), Doubling()
    assert [one.twice(1), one.twice(2), one.twice(1), one.twice(2)] == [2, 4, 2, 4] and one.asked == [1, 2]
    assert (one.twice(1, plus=3), one.twice(2), other.twice(2)) == (5, 4, 4) and one.asked == [1, 2, 1]
    assert one.twice(1) == 2 and one.asked == [1, 2, 1, 1]  # the first answer was no longer kept


# --- rows that belong together


def test_groups_that_one_snapshot_has_are_those_of_both() -> None:
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4])
    names = ("p", "q", "r", "s", "t")
    first, last = snapshots()
    for pair in (
        (replace(first, groups=groups, group_names=names), last),
        (first, replace(last, groups=groups, group_names=names)),
    ):
        for rows in aligned(*pair):
            assert torch.equal(rows.groups, groups) and rows.group_names == names
    renumbered = aligned(replace(first, groups=groups), replace(last, groups=7 - groups))
    assert torch.equal(renumbered[0].groups, groups) and torch.equal(renumbered[1].groups, 7 - groups)
    with pytest.raises(BadInput, match=r"into other groups \(5 and 3\)"):
        aligned(replace(first, groups=groups), replace(last, groups=groups // 2))
