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
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from reclaim.repairs.rows import MoreEvidence
from reclaim.report.evaluate import evaluate
from reclaim.report.story import sentences
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys
from tests.repairs.conftest import BUDGET, TARGET
from tests.toys import copied

ALL = torch.ones(5, dtype=torch.bool)


@pytest.fixture(scope="module")
def pictures() -> tuple[Classifier, Classifier]:
    """The same for a network that goes on after its head."""
    data = toys.images(200)
    torch.manual_seed(0)
    start = toys.classifier(module=toys.GoesOn())
    before = fine_tune(start, toys.replace_seen(data, ALL), replace(BUDGET, epochs=40))
    return before, fine_tune(before, data, replace(BUDGET, epochs=10))


def test_it_beats_both_models_and_what_it_reports_is_what_the_model_answers(pair) -> None:
    before, after = pair
    done = repair(before, after, TARGET, Choices(select="retention-budget"))
    accuracy = {name: evaluate(getattr(done, name)).accuracy for name in ("before", "after", "repaired")}
    assert accuracy["repaired"].all > max(accuracy["before"].all, accuracy["after"].all)
    again = predict(done.model, TARGET, "test")
    torch.testing.assert_close(again.logits, done.repaired.logits, atol=1e-5, rtol=1e-5)


def test_the_repaired_model_is_the_mixture_with_the_offset_in_its_head(pair) -> None:
    before, after = pair
    done = repair(before, after, TARGET, Choices(mix=0.7, select="gap-matching", class_shifts=0))
    mixed = after.with_weights(interpolation(before.weights, after.weights, alpha=0.7))
    from reclaim.models.batch_norm import measure_again

    mixed = measure_again(mixed, TARGET.split("train"))
    expected = mixed.weights["head.bias"] + done.offset.offset * ~toys.SEEN
    torch.testing.assert_close(done.model.weights["head.bias"], expected)
    assert done.bias == done.offset.offset and done.mix.alpha == 0.7
    assert done.model.seen == ("ant", "cat", "dog")


def test_by_default_its_head_has_the_shifts_of_single_classes_too(pair) -> None:
    done = repair(*pair, TARGET, Choices(mix=0.7, select="gap-matching"))
    plain = repair(*pair, TARGET, Choices(mix=0.7, select="gap-matching", class_shifts=0))
    mixed = plain.model.weights["head.bias"] - plain.offset.offset * ~toys.SEEN
    shifts = torch.tensor(done.offset.shifts)
    assert float(shifts.abs().max()) > 0.01 and done.bias == done.offset.offset
    torch.testing.assert_close(done.model.weights["head.bias"], mixed + done.offset.offset * ~toys.SEEN + shifts)
    told, moved = dict(sentences(done)), dict(zip(done.offset.shifts, toys.CLASSES, strict=True))
    for shift in (min(moved), max(moved)):
        assert f"{shift:+.2f} ({moved[shift]})" in told["Classes"]
    assert "Classes" not in dict(sentences(plain))


def test_the_ends_of_the_mixture_are_the_two_models(pair) -> None:
    before, after = pair
    for alpha, model in ((0.0, before), (1.0, after)):
        done = repair(before, after, TARGET, Choices(mix=alpha, select="gap-matching", class_shifts=0)).model.weights
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


def test_a_class_that_only_the_fine_tuned_model_has_is_new_and_one_that_it_lacks_absent(pair) -> None:
    before, after = pair
    done = repair(before, replace(after, classes=("ant", "bee", "cat", "dog", "fox")), _without_elk(TARGET))
    assert done.model.classes == (*toys.CLASSES, "fox") and done.stitch.new == ("fox",) and done.stitch.absent == 1


def _without_elk(data: Data) -> Data:
    splits = {name: split.rows(split.labels != 4) for name, split in data.splits.items()}
    return Data(data.classes[:4], splits, data.seen[:4], data.source)


def test_a_network_that_goes_on_gets_the_bias_that_costs_as_many_held_out_rows(pictures) -> None:
    data = toys.images(200, seed=3)
    done = repair(*pictures, data, Choices(mix=1.0, select="retention-budget", numbers={"budget": 0.2}, class_shifts=0))
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
    told = sentences(replace(done, bias=done.offset.offset + 1))
    assert any("goes on after its last layer" in sentence for _, sentence in told)


# --- how far to go back


def test_with_few_rows_nothing_is_certified_and_with_many_something_is(pair) -> None:
    few = repair(*pair, TARGET)
    assert few.offset.guarantee is None and "the same rows chose the mixture" in few.offset.reason
    val, random = TARGET.split("val"), np.random.default_rng(0)
    noise = random.normal(0, 0.1, (5, 3)).astype(np.float32)
    repeated = Split(val.labels.repeat(5), lambda i: val.read(i % 150) + noise[i // 150], str)
    many = repair(*pair, replace(TARGET, splits=TARGET.splits | {"val": repeated}))
    assert (
        many.offset.guarantee
        == f"seen accuracy falls by at most 0.05 in expectation, n = {many.offset.evidence['seen']}"
    )
    assert many.mix.rows + many.offset.evidence["seen"] == len(repeated.rows(toys.SEEN[repeated.labels]))


def test_more_evidence_reaches_the_selector(pair) -> None:
    done = repair(*pair, TARGET, Choices(mix=1.0, select="rate-matching"), evidence=MoreEvidence(unlabelled=TARGET))
    assert done.offset.evidence == {"unlabelled": 150}
    done = repair(*pair, TARGET, Choices(mix=1.0, select="labelled"), evidence=MoreEvidence(labelled=TARGET))
    assert done.offset.evidence == {"labelled": 150}


def test_labels_of_unlabelled_data_are_not_read(pair) -> None:
    val = TARGET.split("val")
    nameless = replace(TARGET, splits={"val": replace(val, labels=0 * val.labels)})
    how = Choices(mix=0.7, select="rate-matching")
    done, other = (repair(*pair, TARGET, how, evidence=MoreEvidence(unlabelled=data)) for data in (TARGET, nameless))
    assert done.offset == other.offset and any(done.offset.shifts)


def test_without_two_groups_of_classes_there_is_nothing_to_repair(pair) -> None:
    with pytest.raises(BadInput, match="no class is absent"):
        repair(*pair, replace(TARGET, seen=ALL))
    with pytest.raises(BadInput, match="no class is marked as seen"):
        repair(*pair, replace(TARGET, seen=~ALL))


def test_a_preference_gives_up_the_budget_and_says_so(pair) -> None:
    done = repair(*pair, TARGET, Choices(prefer="balanced"))
    assert done.offset.selector == "larger-of-two" and done.offset.guarantee is None
    assert all(tried.allowed for tried in done.mix.tried)
    assert ("Guarantee", "none.") in sentences(done)


def test_no_promise_is_made_where_the_same_rows_chose_the_weight(pair) -> None:
    done = repair(*pair, TARGET, Choices(prefer="balanced", select="retention-budget", numbers={"budget": 0.3}))
    assert done.offset.guarantee is None and "the same rows chose the mixture" in done.offset.reason


def test_a_preference_may_go_all_the_way_back(pair) -> None:
    before, _ = pair
    ruined = before.with_weights(
        {name: 0 * theta if "weight" in name else theta for name, theta in before.weights.items()}
    )
    done = repair(before, ruined, TARGET, Choices(prefer="absent", class_shifts=0))
    assert done.mix.alpha == 0.0 and done.offset.offset == 0
