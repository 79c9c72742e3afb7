"""What holds of a model of any library: it answers as it did there, takes a repair, and goes back as it came."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Preprocess
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.directory import load_model, save_model
from reclaim.models.forward import logits_of
from reclaim.models.head import fold, folds_exactly
from reclaim.models.pairs import paired
from reclaim.models.predict import predict
from tests.small_models import CASES, CLASSES, Case

SHIFT = torch.tensor([0.0, 2.5, 0.0, -1.0, 0.0, 0.0, 0.5])


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.library}/{case.architecture}")
def brought(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path, Classifier]:
    case: Case = request.param
    folder = tmp_path_factory.mktemp("brought") / "model"
    case.write(folder)
    return case, folder, load_model(case.spec(folder), classes=case.classes)


def inputs(case: Case, model: Classifier) -> Any:
    return model.inputs(*map(case.example, range(3)))


@torch.no_grad()
def logits(module: torch.nn.Module, x: Any) -> torch.Tensor:
    return logits_of(module.eval(), x)


def test_a_model_answers_and_names_its_classes_as_in_its_library(brought: tuple[Case, Path, Classifier]) -> None:
    case, folder, model = brought
    x = inputs(case, model)
    torch.testing.assert_close(logits(model.module, x), logits(case.read(folder), x), rtol=1e-6, atol=1e-6)
    assert model.classes == CLASSES and model.library == case.library and not model.guessed
    assert logits(model.module, x).std(dim=0).min() > 0, "the toy answers the same to everything"


def test_features_and_head_give_the_logits(brought: tuple[Case, Path, Classifier]) -> None:
    case, _, model = brought
    x = inputs(case, model)
    assert folds_exactly(model, x)
    rows = Split(torch.tensor([0, 1, 2]), case.example, str)
    data = Data(CLASSES, {"test": rows}, torch.tensor([True, True, True, False, False, False, False]))
    snapshot = predict(model, data, "test")
    torch.testing.assert_close(snapshot.logits, logits(model.module, x), rtol=1e-4, atol=1e-5)
    if not model.twins:  # the features are those of one head
        layer = model.last_layer
        again = snapshot.features @ layer.weight.detach().flatten(1).T
        again = again if layer.bias is None else again + layer.bias.detach()
        torch.testing.assert_close(again, snapshot.logits, rtol=1e-4, atol=1e-5)


def test_folding_an_offset_is_adding_it(brought: tuple[Case, Path, Classifier]) -> None:
    case, _, model = brought
    x = inputs(case, model)
    folded = fold(model, Affine(torch.ones(7), SHIFT))
    torch.testing.assert_close(logits(folded.module, x), logits(model.module, x) + SHIFT, rtol=1e-5, atol=1e-5)


def test_columns_in_another_order_take_their_rows_along(brought: tuple[Case, Path, Classifier]) -> None:
    case, _, model = brought
    x = inputs(case, model)
    turned = model.reordered(tuple(reversed(CLASSES)))
    torch.testing.assert_close(logits(turned.module, x), logits(model.module, x).flip(1), rtol=1e-5, atol=1e-6)


def test_what_is_saved_loads_with_the_library_alone(brought: tuple[Case, Path, Classifier], tmp_path: Path) -> None:
    case, folder, model = brought
    x = inputs(case, model)
    head = model.last_layer
    if head.bias is None:
        changed = replace(model, module=copy.deepcopy(model.module))
        with torch.no_grad():
            changed.last_layer.weight.mul_(1.5)
    else:
        changed = fold(model, Affine(torch.ones(7), SHIFT))
    save_model(tmp_path, changed)
    expected = logits(changed.module, x)
    assert not torch.equal(expected, logits(model.module, x))
    torch.testing.assert_close(logits(case.read(tmp_path), x), expected, rtol=1e-6, atol=1e-6)
    kept = {path.name for path in folder.iterdir()}
    assert kept <= {path.name for path in tmp_path.iterdir()}, "a file that came with the model is lost"
    for alone in (False, True):
        if alone:
            (tmp_path / "reclaim.json").unlink()
        back = load_model(case.spec(tmp_path), classes=case.classes) if alone else load_model(str(tmp_path))
        torch.testing.assert_close(logits(back.module, x), expected, rtol=1e-6, atol=1e-6)
        assert (back.classes, back.head, back.twins) == (CLASSES, model.head, model.twins)
        assert back.preprocess == model.preprocess


def test_two_ways_of_preparing_inputs_are_an_error_that_shows_both(brought: tuple[Case, Path, Classifier]) -> None:
    _, _, model = brought
    assert paired(model, model)[0].preprocess == model.preprocess
    other = replace(model, preprocess=Preprocess(channels=3, resize=77, crop=66))
    with pytest.raises(
        BadInput, match=r"prepare (images|inputs) in different ways(?s:.)*before: \S.*\n  after: .*resize 77"
    ):
        paired(model, other)
