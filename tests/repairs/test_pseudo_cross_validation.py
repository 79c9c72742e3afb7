"""Pseudo cross-validation: it finds what a retraining does to the offset, and reads no row of an absent class."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from torch import nn

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.selectors.gap_matching import gap_matching
from reclaim.core.errors import BadInput
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict
from reclaim.repairs.pseudo_cross_validation import Retrain, pseudo_cross_validation
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from reclaim.training.recipes.frozen_backbone import frozen_backbone
from tests import toys
from tests.toys import copied

SEEN = torch.tensor([True] * 8 + [False] * 3)
CLASSES = tuple("abcdefghijk")
BUDGET = Budget(epochs=6, learning_rate=0.05, batch_size=16)


def recipe(model: Classifier, data: Data) -> Classifier:
    return fine_tune(model, data, BUDGET)


def balanced() -> Classifier:
    """Inputs are the logits, so it is as right about one class as about another."""
    layer = nn.Linear(11, 11)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return Classifier(nn.Sequential(layer), "0", classes=CLASSES)


def rows(labels: torch.Tensor) -> Split:
    """Each row's own class stands 3 above all others."""
    x = 3 * np.eye(11, dtype=np.float32)[labels.numpy()]
    return Split(labels, x.__getitem__, str)


DATA = Data(CLASSES, {"train": rows(torch.arange(80) % 8)}, SEEN, "toy")


def of_classes(*classes: int, seen: int = 8) -> Data:
    """The same with ten training rows of each of these classes, and the first `seen` marked as seen."""
    return replace(DATA, splits={"train": rows(torch.tensor(classes * 10))}, seen=torch.arange(11) < seen)


def adding(amount: float) -> Retrain:
    """A trivial fine-tuning, by a constant on the logits of its classes."""
    return following(lambda num_classes: amount)


def following(law) -> Retrain:
    """The same, by an amount that depends on the number of its classes."""

    def retrain(model: Classifier, data: Data) -> Classifier:
        with torch.no_grad():
            model.last_layer.bias += law(int(data.seen.sum())) * data.seen
        return model

    return retrain


def offsets(chosen) -> list[float]:
    return [run["offset"] for run in chosen.details["runs"]]


# --- what it divides


@pytest.mark.parametrize("groups", [torch.arange(80) // 8, torch.arange(80) % 16], ids=["of-all-classes", "of-one"])
def test_rows_that_belong_together_are_never_retrained_on_and_judged(groups: torch.Tensor) -> None:
    split, trained, read = replace(DATA.split("train"), groups=groups), set(), set()

    def reading(i: int) -> np.ndarray:
        read.add(int(groups[i]))
        return split.read(i)

    def retrain(model: Classifier, data: Data) -> Classifier:
        trained.update(data.split("train").groups.tolist())
        read.clear()  # what is read from now on is judged
        return model

    for seed in range(5):
        trained.clear()
        data = replace(DATA, splits={"train": replace(split, read=reading)})
        pseudo_cross_validation(balanced(), data, retrain, runs=1, seed=seed)
        assert trained and read and not trained & read


# --- what it finds


@pytest.mark.parametrize("criterion", ["overall", "balanced", "harmonic"])
@pytest.mark.parametrize("amount", [0.0, 1.7, 12.0])
def test_of_a_constant_on_the_retrained_classes_it_finds_that_constant(criterion, amount: float) -> None:
    chosen = pseudo_cross_validation(balanced(), DATA, adding(amount), criterion=criterion)
    assert chosen.offset == pytest.approx(amount, abs=1e-5)
    assert chosen.details["spread"] == pytest.approx(0, abs=1e-5) and chosen.evidence == {"train": 80}
    assert [run["classes"] for run in chosen.details["runs"]] == [4, 4, 4]


def test_on_noisy_rows_more_of_the_constant_is_as_much_more_of_the_offset() -> None:
    before, data = toys.classifier(), toys.data(n=300, spread=1.5)
    first, second = (offsets(pseudo_cross_validation(before, data, adding(a))) for a in (30.0, 32.5))
    assert [b - a for a, b in zip(first, second, strict=True)] == pytest.approx([2.5] * 3, abs=1e-4)


def test_either_group_counts_by_its_classes_not_by_its_rows() -> None:
    """Retrained rows are lost above 1 and the others won above 2, so only the larger group can be had."""

    def retrain(model: Classifier, data: Data) -> Classifier:
        with torch.no_grad():
            model.last_layer.weight /= 3
            model.last_layer.weight[int(data.seen.int().argmax()), ~data.seen] = 1.0
        return model

    assert pseudo_cross_validation(balanced(), DATA, retrain).offset == pytest.approx(0.0)
    few = of_classes(0, 1, 2, 3, seen=4)  # of eleven; 4 judged rows are of the retrained classes, 20 of the others
    assert pseudo_cross_validation(balanced(), few, retrain).offset == pytest.approx(3.0)
    assert pseudo_cross_validation(balanced(), few, retrain, criterion="balanced").offset == pytest.approx(0.0)


def test_several_shares_are_followed_to_all_seen_classes() -> None:
    law = lambda num_classes: 5 - 1.3 * log(num_classes)  # noqa: E731
    chosen = pseudo_cross_validation(balanced(), DATA, following(law), shares=(0.25, 0.5, 0.75), runs=2)
    assert chosen.offset == pytest.approx(law(8), abs=1e-4)
    assert [run["classes"] for run in chosen.details["runs"]] == [2, 2, 4, 4, 6, 6]


def test_the_median_ignores_a_run_that_went_astray() -> None:
    done = []

    def retrain(model: Classifier, data: Data) -> Classifier:
        done.append(adding([2.0, 50.0, 3.0][len(done)])(model, data))
        return done[-1]

    assert pseudo_cross_validation(balanced(), DATA, retrain, aggregate="median").offset == pytest.approx(3, abs=1e-4)
    done.clear()
    mean = pseudo_cross_validation(balanced(), DATA, retrain)
    assert mean.offset == pytest.approx(55 / 3, abs=1e-4)
    assert mean.details["spread"] == pytest.approx(np.std([2, 50, 3], ddof=1), abs=1e-4)


# --- what it reads


def guarded(data: Data) -> Data:
    """The same data, with rows of absent classes in every split; reading one fails."""

    def split(given: Split) -> Split:
        extra = (~data.seen).nonzero().squeeze(1).repeat(7)

        def read(i: int):
            assert i < len(given), "a row of an absent class was read"
            return given.read(i)

        return Split(torch.cat([given.labels, extra]), read, str)

    seen = {name: data.seen_only(name) for name in data.splits}
    return replace(data, splits={name: split(rows) for name, rows in seen.items()})


@pytest.mark.parametrize("cheap", [False, True])
def test_no_row_of_an_absent_class_is_read(cheap: bool) -> None:
    before, data = toys.classifier(), toys.data()
    after = recipe(before, data) if cheap else None
    plain = pseudo_cross_validation(before, data, recipe, after, cheap=cheap)
    assert pseudo_cross_validation(before, guarded(data), recipe, after, cheap=cheap) == plain


def test_the_recipe_gets_four_fifths_of_each_of_its_classes_and_nothing_else() -> None:
    given = []
    before = balanced()
    kept = copied(before.weights)

    def retrain(model: Classifier, data: Data) -> Classifier:
        given.append(data)
        return adding(3.0)(model, data)

    pseudo_cross_validation(before, replace(DATA, splits=DATA.splits | {"val": DATA.split("train")}), retrain)
    for data in given:
        assert list(data.splits) == ["train"] and int(data.seen.sum()) == 4 and not data.seen[~SEEN].any()
        assert torch.bincount(data.split("train").labels, minlength=11).tolist() == [8 * int(s) for s in data.seen]
    assert len({tuple(data.seen.tolist()) for data in given}) > 1
    assert toys.same(before.weights, kept)


def test_the_seed_decides() -> None:
    before, data = toys.classifier(), toys.data(spread=1.5)
    first, again, other = (pseudo_cross_validation(before, data, recipe, seed=seed) for seed in (0, 0, 1))
    assert first == again and offsets(first) != offsets(other)


# --- the cheap form


def test_cheap_it_retrains_heads_and_scales_by_the_ratio_of_the_gaps() -> None:
    before, data = toys.classifier(), toys.data(n=200)
    after, widths = recipe(before, data), []

    def retrain(model: Classifier, given: Data) -> Classifier:
        widths.append(len(given.split("train").read(0)))
        return recipe(model, given)

    chosen = pseudo_cross_validation(before, data, retrain, after, cheap=True)
    assert widths == [11] * 4  # features, not inputs
    assert chosen.evidence == {"train": 200, "val": len(data.seen_only("val"))}
    held_out = {
        name: predict(model, data, "val").seen_rows()
        for name, model in (("seen", after), ("before", frozen_backbone(before, data, BUDGET)))
    }
    gaps = gap_matching(Evidence(**held_out)).details
    assert chosen.details["ratio"] == pytest.approx(gaps["gap_after"] / gaps["gap_before"], rel=1e-4)
    assert chosen.offset == pytest.approx(chosen.details["ratio"] * np.mean(offsets(chosen)))


def test_cheap_it_is_the_whole_one_where_the_head_is_all_there_is() -> None:
    whole = pseudo_cross_validation(balanced(), DATA, adding(4.0))
    cheap = pseudo_cross_validation(balanced(), DATA, adding(4.0), adding(4.0)(balanced(), DATA), cheap=True)
    assert cheap.details["ratio"] == pytest.approx(1) and cheap.offset == pytest.approx(whole.offset)


def test_gaps_without_a_meaningful_ratio_are_refused() -> None:
    with pytest.raises(BadInput, match="scaled to the fine-tuned model, and no `after` was given"):
        pseudo_cross_validation(balanced(), DATA, adding(4.0), cheap=True)
    with pytest.raises(BadInput, match=r"no meaningful ratio(.|\n)*leave out `cheap`"):
        pseudo_cross_validation(balanced(), DATA, adding(4.0), adding(-4.0)(balanced(), DATA), cheap=True)


# --- what becomes of it, and what is refused


def test_as_a_calibrator_it_brings_absent_classes_back() -> None:
    everything = toys.replace_seen(toys.data(n=300), torch.ones(5, dtype=torch.bool))
    before, data = fine_tune(toys.classifier(), everything, replace(BUDGET, epochs=15)), toys.data(n=300, move=0.5)
    again = lambda model, data: fine_tune(model, data, replace(BUDGET, epochs=15))  # noqa: E731
    chosen = pseudo_cross_validation(before, data, again)
    calibrate = LogitOffset(chosen.offset, Fitted(tuple(data.seen.tolist()), data.classes))
    test = predict(again(before, data), data, "test")
    right = lambda z: float((z.argmax(dim=1) == test.labels).float().mean())  # noqa: E731
    assert right(calibrate(test.logits)) > right(test.logits) + 0.05


@pytest.mark.parametrize(
    ("data", "numbers", "message"),
    [
        (of_classes(2), {}, "training rows are of 1"),
        (of_classes(2, 5), {}, "training rows are of 2"),
        (of_classes(2, 5, 6), {"shares": (0.25, 0.5)}, "all come to 2 of them"),
        (replace(DATA, splits={"val": DATA.split("train")}), {}, "has the splits val"),
        (replace(DATA, seen=torch.ones(11, dtype=torch.bool)), {}, "no class is absent"),
        (DATA, {"shares": (1.0,)}, "between 0 and 1"),
        (DATA, {"shares": ()}, "between 0 and 1"),
        (DATA, {"runs": 0}, "runs must be a whole number between 1 and 1000000000; given: 0"),
    ],
)
def test_what_cannot_be_divided_is_refused(data: Data, numbers: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        pseudo_cross_validation(balanced(), data, adding(1.0), **numbers)


def test_three_seen_classes_are_enough() -> None:
    chosen = pseudo_cross_validation(balanced(), of_classes(0, 3, 7), adding(1.5))
    assert chosen.offset == pytest.approx(1.5, abs=1e-3)
