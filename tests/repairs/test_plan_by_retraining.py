"""The offset by retraining: what is read, what is chosen, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from reclaim.repairs.pseudo_cross_validation import Retrain, pseudo_cross_validation
from reclaim.repairs.rows import hold_out
from reclaim.report.story import sentences
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys
from tests.repairs.conftest import BUDGET, TARGET


def recipe(model: Classifier, data: Data) -> Classifier:
    """The one that made the fine-tuned model of the pair."""
    return fine_tune(model, data, BUDGET)


def repeated(pair, data: Data = TARGET, retrain: Retrain | None = recipe, **choices):
    return repair(*pair, data, Choices(**{"select": "pseudo-cross-validation"} | choices), retrain=retrain)


def test_by_retraining_it_is_the_fine_tuned_model_with_the_offset_of_pseudo_cross_validation(pair) -> None:
    before, after = pair
    done = repeated(pair, seed=5, numbers={"runs": 2, "criterion": "balanced"})
    chosen = pseudo_cross_validation(before, TARGET, recipe, runs=2, criterion="balanced", seed=5)
    assert done.offset.offset == chosen.offset == done.bias and done.offset.fitted.details == chosen.details
    bias = after.weights["head.bias"] + chosen.offset * ~toys.SEEN
    assert toys.same(done.model.weights, after.weights | {"head.bias": bias})
    assert done.mix.alpha == 1 and "for the fine-tuned model" in done.mix.reason
    assert done.offset.shifts == () and ("Guarantee", "none.") in sentences(done)


def test_it_takes_a_mix_of_one_and_the_cheap_form(pair) -> None:
    before, after = pair
    done = repeated(pair, mix=1.0, numbers={"runs": 1, "cheap": True})
    cheap = pseudo_cross_validation(before, TARGET, recipe, after, runs=1, cheap=True)
    assert done.mix.alpha == 1 and done.offset.offset == cheap.offset
    whole = repeated(pair, numbers={"runs": 1, "cheap": False}).offset
    assert whole.fitted.details["ratio"] == 1 != cheap.details["ratio"]


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
    _, reports = hold_out(one)
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
