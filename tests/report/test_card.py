"""The card says what the evaluation says, in a form that hubs read, and nothing of this machine."""

from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard

from reclaim.data.inputs.text import Texts
from reclaim.report.card import answered, model_card
from reclaim.report.evaluate import evaluate
from reclaim.snapshots.snapshot import Snapshot
from tests import toys


def rows(**more: object) -> Snapshot:
    return toys.snapshot(data="/home/somebody/pets", split="test", **more)


def test_numbers_are_those_of_the_evaluation_as_results_that_hubs_read() -> None:
    model = replace(toys.classifier(), name="/home/somebody/resnet", library="open-clip")
    text = model_card(model, done=[("Offset", "3.00 added.")], rows={"after": rows(sunk=9.0), "repaired": rows()})
    card = ModelCard(text)
    found = {one.metric_name: one.metric_value for one in card.data.eval_results}
    accuracy = evaluate(rows()).accuracy
    assert found["accuracy, all classes"] == pytest.approx(accuracy.all, abs=1e-6)
    assert found["accuracy, classes that it had not"] == pytest.approx(accuracy.absent, abs=1e-6)
    assert (card.data.library_name, card.data.pipeline_tag, card.data.model_name) == (
        "open_clip",
        "image-classification",
        "resnet",
    )
    assert "- **Offset**: 3.00 added." in text and f"| repaired | {accuracy.all:.1%} (" in text
    assert "| after |" in text and "somebody" not in text
    assert {(one.dataset_name, one.dataset_split) for one in card.data.eval_results} == {("pets", "test")}


def test_without_absent_rows_there_is_no_number_of_them() -> None:
    some = rows()
    seen = replace(some.rows(some.seen[some.known_labels]), data="pets")
    text = model_card(toys.classifier(), rows={"repaired": seen})
    assert "classes that it had not" not in str(ModelCard(text).data) and "| – |" in text and "nan%" not in text


def test_a_model_of_texts_and_one_without_numbers_have_cards_too() -> None:
    text = model_card(replace(toys.classifier(), preprocess=Texts(lambda text: {"ids": [1]}), library="transformers"))
    card = ModelCard(text)
    assert card.data.pipeline_tag == "text-classification" and card.data.eval_results is None


def test_a_name_of_a_class_is_no_markup() -> None:
    model = replace(toys.classifier(), classes=("ant", "bee", "[x](y)", "d\n# e", "<b>"), seen=("ant", "bee"))
    text = model_card(model)
    assert "It had none of: \\[x\\](y), d \\# e, \\<b\\>." in text


def test_shares_and_errors_of_answered_rows_are_those_counted_by_hand() -> None:
    p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]])
    some = Snapshot(p.log(), torch.tensor([0, 1, 1, 1]), torch.tensor([True, False]))
    found = answered(some, (0.5, 0.7, 0.95))
    assert [(one.threshold, one.share, one.error) for one in found] == [
        (0.5, 1.0, 0.25),
        (0.7, 0.5, 0.0),
        (0.95, 0.0, None),
    ]
