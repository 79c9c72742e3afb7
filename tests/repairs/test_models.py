"""The main job on toys: what is read, what is chosen, what comes out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.merges.interpolation import interpolation
from reclaim.models.predict import predict
from reclaim.repairs.alpha import Mix
from reclaim.repairs.models import repair
from reclaim.repairs.pseudo_cross_validation import pseudo_cross_validation
from reclaim.repairs.rows import divide
from reclaim.report.evaluate import evaluate
from reclaim.report.story import story
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys
from tests.toys import copied

TARGET = toys.data(n=300, move=0.5)
ALL = torch.ones(5, dtype=torch.bool)
BUDGET = Budget(epochs=15, learning_rate=0.05, batch_size=16)


@pytest.fixture(scope="module")
def pair() -> tuple[Classifier, Classifier]:
    """A network pretrained on five clouds and fine-tuned on three of them, moved."""
    before = fine_tune(toys.classifier(), toys.replace_seen(toys.data(n=300), ALL), BUDGET)
    return before, fine_tune(before, TARGET, BUDGET)


@pytest.fixture(scope="module")
def pictures() -> tuple[Classifier, Classifier]:
    """The same for a network that goes on after its head."""
    data = toys.images(200)
    start = toys.classifier(module=toys.GoesOn())
    before = fine_tune(start, toys.replace_seen(data, ALL), replace(BUDGET, epochs=40))
    return before, fine_tune(before, data, replace(BUDGET, epochs=10))


def test_it_beats_both_models_and_what_it_reports_is_what_the_model_answers(pair) -> None:
    before, after = pair
    done = repair(before, after, TARGET, select="retention-budget")
    accuracy = {name: evaluate(getattr(done, name)).accuracy for name in ("before", "after", "repaired")}
    assert accuracy["repaired"].all > max(accuracy["before"].all, accuracy["after"].all)
    again = predict(done.model, TARGET, "test")
    torch.testing.assert_close(again.logits, done.repaired.logits, atol=1e-5, rtol=1e-5)


def test_the_repaired_model_is_the_mixture_with_the_offset_in_its_head(pair) -> None:
    before, after = pair
    done = repair(before, after, TARGET, mix=0.7, select="gap-matching", class_balance=0)
    mixed = after.with_weights(interpolation(before.weights, after.weights, alpha=0.7))
    from reclaim.models.batch_norm import measure_again

    mixed = measure_again(mixed, TARGET.split("train"))
    expected = mixed.weights["head.bias"] + done.offset.offset * ~toys.SEEN
    torch.testing.assert_close(done.model.weights["head.bias"], expected)
    assert done.bias == done.offset.offset and done.mix.weight == 0.7
    assert done.model.seen == ("ant", "cat", "dog")


def test_by_default_its_head_has_the_shifts_of_single_classes_too(pair) -> None:
    done = repair(*pair, TARGET, mix=0.7, select="gap-matching")
    plain = repair(*pair, TARGET, mix=0.7, select="gap-matching", class_balance=0)
    mixed = plain.model.weights["head.bias"] - plain.offset.offset * ~toys.SEEN
    shifts = torch.tensor(done.offset.shifts)
    assert float(shifts.abs().max()) > 0.01 and done.bias == done.offset.offset
    torch.testing.assert_close(done.model.weights["head.bias"], mixed + done.offset.offset * ~toys.SEEN + shifts)
    told, moved = dict(story(done)), dict(zip(done.offset.shifts, toys.CLASSES, strict=True))
    for shift in (min(moved), max(moved)):
        assert f"{shift:+.2f} ({moved[shift]})" in told["Classes"]
    assert "Classes" not in dict(story(plain))


def test_the_ends_of_the_mixture_are_the_two_models(pair) -> None:
    before, after = pair
    for weight, model in ((0.0, before), (1.0, after)):
        done = repair(before, after, TARGET, mix=weight, select="gap-matching", class_balance=0).model.weights
        assert all(
            torch.equal(done[n], model.weights[n]) for n in done if n not in ("head.bias", "norm.num_batches_tracked")
        )


def test_neither_model_changes(pair) -> None:
    kept = [copied(model.weights) for model in pair]
    repair(*pair, TARGET)
    assert all(toys.same(model.weights, theta) for model, theta in zip(pair, kept, strict=True))


def test_nothing_chooses_by_an_example_of_an_absent_class(pair) -> None:
    split = TARGET.split("val")

    def read(i: int) -> np.ndarray:
        assert bool(toys.SEEN[split.labels[i]]), "an example of an absent class was read"
        return split.read(i)

    guarded = replace(TARGET, splits=TARGET.splits | {"val": replace(split, read=read)})
    assert repair(*pair, guarded).offset.offset == repair(*pair, TARGET).offset.offset


def test_labels_of_report_rows_choose_nothing(pair) -> None:
    test = TARGET.split("test")
    shuffled = replace(test, labels=test.labels.roll(1))
    other = repair(*pair, replace(TARGET, splits=TARGET.splits | {"test": shuffled}))
    done = repair(*pair, TARGET)
    assert other.offset == done.offset and other.mix == done.mix
    assert toys.same(other.model.weights, done.model.weights)


def test_classes_in_another_order_are_matched_by_name(pair) -> None:
    before, after = pair
    turned = before.reordered(("elk", "cat", "bee", "ant", "dog"))
    assert toys.same(repair(turned, after, TARGET).model.weights, repair(before, after, TARGET).model.weights)


def test_classes_of_one_model_only_are_refused(pair) -> None:
    before, after = pair
    with pytest.raises(BadInput, match="the two models have different classes"):
        repair(replace(before, classes=("ant", "bee", "cat", "dog", "elk"), namings=()),
               replace(after, classes=("ant", "bee", "cat", "dog", "fox")), _without_elk(TARGET))  # fmt: skip


def _without_elk(data: Data) -> Data:
    splits = {name: split.rows(split.labels != 4) for name, split in data.splits.items()}
    return Data(data.classes[:4], splits, data.seen[:4], data.source)


def test_a_network_that_goes_on_gets_the_bias_that_costs_as_many_held_out_rows(pictures) -> None:
    data = toys.images(200, seed=3)
    done = repair(*pictures, data, mix=1.0, select="retention-budget", numbers={"budget": 0.2}, class_balance=0)
    assert done.offset.offset > 0
    held_out = predict(done.model, data, "val").seen_rows()
    plain = predict(pictures[1], data, "val").seen_rows()
    kept = evaluate(replace(plain, logits=done.offset(plain.logits))).accuracy.all
    assert evaluate(held_out).accuracy.all >= kept
    more = pictures[1].with_weights(
        done.model.weights | {"head.bias": done.model.weights["head.bias"] + 0.3 * ~toys.SEEN}
    )
    assert evaluate(predict(more, data, "val").seen_rows()).accuracy.all < kept + 1e-9
    assert not torch.allclose(held_out.logits, done.offset(plain.logits), atol=1e-3)
    told = story(replace(done, bias=done.offset.offset + 1))
    assert any("goes on after its last layer" in sentence for _, sentence in told)


# --- the division of rows


def rows(n: int, classes: list[int]) -> Split:
    return Split(torch.tensor([classes[i % len(classes)] for i in range(n)]), lambda i: i, str)


def test_val_chooses_and_test_reports() -> None:
    chooses, reports = divide(TARGET)
    assert bool(TARGET.seen[chooses.labels].all()) and len(reports) == len(TARGET.split("test"))


def test_a_single_split_is_divided_without_overlap() -> None:
    data = Data(toys.CLASSES, {"train": rows(9, [0, 2, 3]), "all": rows(100, [0, 1, 2, 3, 4])}, toys.SEEN, "x")
    chooses, reports = divide(data, 0.4, seed=3)
    first, second = ({split.read(i) for i in range(len(split))} for split in (chooses, reports))
    assert not first & second and len(second) == 60
    assert bool(toys.SEEN[chooses.labels].all()) and 15 < len(chooses) < 35
    assert {divide(data, 0.4, seed=4)[0].read(0), divide(data, 0.4, seed=5)[0].read(0)} != {chooses.read(0)}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": rows(9, [0])}, "was not trained on, and x has the splits train"),
        ({"val": rows(9, [1, 4]), "test": rows(9, [0])}, "leaves 0 held-out rows of seen classes"),
        ({"all": rows(2, [0])}, "at least 2 and 1 are needed"),
    ],
)
def test_without_rows_to_choose_with_it_refuses(splits: dict[str, Split], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        divide(Data(toys.CLASSES, splits, toys.SEEN, "x"))
    with pytest.raises(BadInput, match="between 0 and 1"):
        divide(Data(toys.CLASSES, {"all": rows(20, [0])}, toys.SEEN, "x"), held_out=1.0)


# --- how far to go back


def test_with_few_rows_nothing_is_certified_and_with_many_something_is(pair) -> None:
    few = repair(*pair, TARGET)
    assert few.offset.guarantee is None and "the same rows chose the weight" in few.offset.reason
    val, random = TARGET.split("val"), np.random.default_rng(0)
    noise = random.normal(0, 0.1, (5, 3)).astype(np.float32)
    repeated = Split(val.labels.repeat(5), lambda i: val.read(i % 150) + noise[i // 150], str)
    many = repair(*pair, replace(TARGET, splits=TARGET.splits | {"val": repeated}))
    assert (
        many.offset.guarantee
        == f"seen accuracy falls by at most 0.05 in expectation, n = {many.offset.evidence['seen']}"
    )
    assert many.mix.rows + many.offset.evidence["seen"] == len(repeated.rows(toys.SEEN[repeated.labels]))


def test_if_no_offset_fits_the_budget_at_the_mixture_it_falls_back_to_the_fine_tuned_model(pair, monkeypatch) -> None:
    monkeypatch.setattr("reclaim.repairs.plan.most_promising", lambda *_, **__: Mix(0.0, "it is the pretrained model"))
    done = repair(*pair, TARGET, numbers={"budget": 0.02})
    assert done.mix.weight == 1.0 and "back to the fine-tuned model" in done.mix.reason
    assert done.offset.guarantee is None


def test_more_evidence_reaches_the_selector(pair) -> None:
    done = repair(*pair, TARGET, mix=1.0, select="rate-matching", extra={"unlabelled": TARGET})
    assert done.offset.evidence == {"unlabelled": 150}
    done = repair(*pair, TARGET, mix=1.0, select="labelled", extra={"labelled": TARGET})
    assert done.offset.evidence == {"labelled": 150}


def test_without_two_groups_of_classes_there_is_nothing_to_repair(pair) -> None:
    with pytest.raises(BadInput, match="no class is absent"):
        repair(*pair, replace(TARGET, seen=ALL))
    with pytest.raises(BadInput, match="no class is marked as seen"):
        repair(*pair, replace(TARGET, seen=~ALL))


def test_a_preference_gives_up_the_budget_and_says_so(pair) -> None:
    done = repair(*pair, TARGET, prefer="balanced")
    assert done.offset.selector == "bolder" and done.offset.guarantee is None
    assert all(tried.allowed for tried in done.mix.tried)
    assert ("Guarantee", "none.") in story(done)


def test_no_promise_is_made_where_the_same_rows_chose_the_weight(pair) -> None:
    done = repair(*pair, TARGET, prefer="balanced", select="retention-budget", numbers={"budget": 0.3})
    assert done.offset.guarantee is None and "the same rows chose the weight" in done.offset.reason


def test_a_preference_may_go_all_the_way_back(pair) -> None:
    before, _ = pair
    ruined = before.with_weights(
        {name: 0 * theta if "weight" in name else theta for name, theta in before.weights.items()}
    )
    done = repair(before, ruined, TARGET, prefer="absent", class_balance=0)
    assert done.mix.weight == 0.0 and done.offset.offset == 0


# --- the offset by retraining


def recipe(model: Classifier, data: Data) -> Classifier:
    """The one that made the fine-tuned model of the pair."""
    return fine_tune(model, data, BUDGET)


def repeated(pair, data: Data = TARGET, **more):
    return repair(*pair, data, **{"select": "pseudo-cross-validation", "retrain": recipe} | more)


def test_by_retraining_it_is_the_fine_tuned_model_with_the_offset_of_pseudo_cross_validation(pair) -> None:
    before, after = pair
    done = repeated(pair, seed=5, numbers={"runs": 2, "criterion": "balanced"})
    chosen = pseudo_cross_validation(before, TARGET, recipe, runs=2, criterion="balanced", seed=5)
    assert done.offset.offset == chosen.offset == done.bias and done.offset.details == chosen.details
    bias = after.weights["head.bias"] + chosen.offset * ~toys.SEEN
    assert toys.same(done.model.weights, after.weights | {"head.bias": bias})
    assert done.mix.weight == 1 and "for the fine-tuned model" in done.mix.reason
    assert done.offset.shifts == () and ("Guarantee", "none.") in story(done)


def test_it_takes_a_mix_of_one_and_the_cheap_form(pair) -> None:
    before, after = pair
    done = repeated(pair, mix=1.0, numbers={"runs": 1, "cheap": True})
    cheap = pseudo_cross_validation(before, TARGET, recipe, after=after, runs=1)
    assert done.mix.weight == 1 and done.offset.offset == cheap.offset
    assert repeated(pair, numbers={"runs": 1, "cheap": False}).offset.details["ratio"] == 1 != cheap.details["ratio"]


def test_it_matches_classes_by_name_when_it_retrains(pair) -> None:
    before, after = pair
    turned = before.reordered(("elk", "cat", "bee", "ant", "dog"))
    numbers = {"runs": 1}
    assert repeated((turned, after), numbers=numbers).offset == repeated(pair, numbers=numbers).offset


@pytest.mark.parametrize("cheap", [False, True])
def test_it_retrains_and_judges_without_a_row_of_an_absent_class(pair, cheap: bool) -> None:
    def guarded(split: Split) -> Split:
        kept, absent = split.rows(TARGET.seen[split.labels]), (~toys.SEEN).nonzero().squeeze(1).repeat(7)

        def read(i: int) -> np.ndarray:
            assert i < len(kept), "a row of an absent class was read"
            return kept.read(i)

        return Split(torch.cat([kept.labels, absent]), read, str)

    some = replace(TARGET, splits=TARGET.splits | {name: guarded(TARGET.split(name)) for name in ("train", "val")})
    numbers = {"runs": 1, "cheap": cheap}
    assert repeated(pair, some, numbers=numbers).offset == repeated(pair, numbers=numbers).offset


@pytest.mark.parametrize("cheap", [False, True])
def test_report_rows_do_not_choose_where_they_are_part_of_the_held_out_split(pair, cheap: bool) -> None:
    val, numbers = TARGET.split("val"), {"runs": 1, "cheap": cheap}
    where = replace(val, read=lambda i: i)
    one = replace(TARGET, splits={"train": TARGET.split("train"), "val": where})
    _, reports = divide(one)
    reporting = {reports.read(i) for i in range(len(reports))}
    moved = replace(val, read=lambda i: val.read(i) + 9 * (i in reporting))
    found = [repeated(pair, replace(one, splits=one.splits | {"val": rows}), numbers=numbers) for rows in (val, moved)]
    assert found[0].offset == found[1].offset
    assert not torch.equal(found[0].repaired.logits, found[1].repaired.logits)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"retrain": None}, r"no `retrain` was given(.|\n)*retrain=lambda model, data"),
        ({"select": "auto"}, "`retrain` is for select='pseudo-cross-validation'; the selector 'auto' retrains nothing"),
        ({"mix": 0.5}, "for the fine-tuned model; given: a mix of 0.5"),
        ({"prefer": "seen"}, "give a `criterion` instead"),
    ],
)
def test_what_does_not_go_with_retraining_is_refused(pair, more: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        repeated(pair, **more)


def test_without_training_rows_nothing_can_be_retrained(pair) -> None:
    untrained = replace(TARGET, splits={name: TARGET.split(name) for name in ("val", "test")})
    with pytest.raises(BadInput, match="retrains on the training rows, and toy has the splits val, test"):
        repeated(pair, untrained)
