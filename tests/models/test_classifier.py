"""Classifiers: heads, names of outputs, and folding."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.calibrators.spline import Spline
from reclaim.calibration.folding import affine_to_fold
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.models.classifier import Classifier
from reclaim.models.head import ends_with_head, find_head, fold
from reclaim.models.samples import first_channels
from tests import toys
from tests.toys import copied

OFFSET = LogitOffset(2.5, Fitted(tuple(toys.SEEN.tolist()), toys.CLASSES))


def test_folding_an_offset_adds_it_to_the_logits_of_absent_classes() -> None:
    model, x = toys.classifier(), torch.randn(9, 3)
    kept = copied(model.weights)
    folded = fold(model, OFFSET.affine(model.classes))
    torch.testing.assert_close(folded.module(x), OFFSET(model.module(x)))
    assert toys.same(model.weights, kept)
    assert folded.weights.keys() == kept.keys()


def test_folding_goes_by_the_names_of_the_classes() -> None:
    model = toys.classifier().reordered(("elk", "cat", "bee", "ant", "dog"))
    x = torch.randn(4, 3)
    lifted = fold(model, OFFSET.affine(model.classes)).module(x) - model.module(x)
    torch.testing.assert_close(lifted, torch.tensor([2.5, 0.0, 2.5, 0.0, 0.0]).expand(4, 5))


def test_a_head_without_a_bias_gets_one() -> None:
    model, x = toys.classifier(module=toys.biasless()), torch.randn(4, 3)
    folded = fold(model, OFFSET.affine(model.classes))
    torch.testing.assert_close(folded.module(x), OFFSET(model.module(x)))
    again = model.with_weights(folded.weights)
    assert torch.equal(again.module(x), folded.module(x))


def test_folding_a_chain_folds_its_composition() -> None:
    model, x = toys.classifier(), torch.randn(9, 3)
    chain = Chain((OFFSET, OFFSET))
    torch.testing.assert_close(fold(model, affine_to_fold(chain, model.classes)).module(x), chain(model.module(x)))


def test_what_is_not_affine_cannot_be_folded() -> None:
    z, y, _ = toys.logits(sunk=0.0)
    bent = Spline.fit(z, y)
    with pytest.raises(BadInput, match="Spline is not affine, so it cannot be folded into a layer"):
        affine_to_fold(bent)
    with pytest.raises(BadInput, match="Spline is not affine, so this chain cannot be folded into a layer"):
        affine_to_fold(Chain((bent, bent)))


def test_a_network_that_goes_on_after_its_head_is_told_apart() -> None:
    assert ends_with_head(toys.classifier(), torch.randn(4, 3))
    assert not ends_with_head(toys.classifier(module=toys.GoesOn()), torch.randn(4, 1, 6, 6))


def test_the_head_is_the_last_linear_layer() -> None:
    assert find_head(toys.Net()) == "head" and find_head(toys.GoesOn()) == "head"
    with pytest.raises(BadInput, match="no linear last layer"):
        find_head(nn.Sequential(nn.ReLU()))


def test_the_channels_are_those_of_the_first_convolution() -> None:
    assert first_channels(toys.GoesOn()) == 1 and first_channels(toys.Net()) is None


def test_reordering_moves_the_outputs_with_their_names() -> None:
    model, x = toys.classifier(), torch.randn(4, 3)
    order = ("elk", "cat", "bee", "ant", "dog")
    turned = model.reordered(order)
    assert torch.equal(turned.module(x), model.module(x)[:, [4, 2, 1, 0, 3]])
    assert turned.reordered(toys.CLASSES).weights["head.bias"].tolist() == model.weights["head.bias"].tolist()


def test_a_class_in_one_model_only_is_named() -> None:
    with pytest.raises(BadInput, match=r"only one has: elk\n.*only the other has: fox"):
        toys.classifier().reordered(("ant", "bee", "cat", "dog", "fox"))


def nameless(**more: object) -> Classifier:
    module = toys.Net()
    return Classifier(module, "head", name="net", **more)  # type: ignore[arg-type]


def test_without_names_the_outputs_take_those_of_as_many_classes() -> None:
    assert nameless().bind(toys.CLASSES).classes == toys.CLASSES
    with pytest.raises(BadInput, match=r"the data have 2 classes .* answers 5 that have no names"):
        nameless().bind(("ant", "bee"))


def test_a_guess_of_names_is_said_each_time_and_a_name_is_no_guess(caplog: pytest.LogCaptureFixture) -> None:
    model = toys.classifier()
    nameless = replace(model, classes=(), name="mine")
    for _ in range(2):
        nameless.bind(toys.CLASSES)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and said[0] == said[1]
    assert "'mine' have no names: it is guessed that they are the 5 classes" in said[0] and "ant, bee, cat" in said[0]
    caplog.clear()
    model.bind(toys.CLASSES[:3])
    replace(nameless, namings=(toys.CLASSES,)).bind(toys.CLASSES)
    assert not caplog.records


def test_names_that_look_alike_are_shown_letter_by_letter() -> None:
    model = replace(toys.classifier(), classes=("caf\u00e9", "1", "cat", "dog", "elk"))
    with pytest.raises(BadInput, match=r"not the same name: .*'cafe\\u0301' and 'caf\\xe9'"):
        model.bind(("cafe\u0301", "01", "cat"))
    with pytest.raises(BadInput) as refused:
        model.bind(("bee", "cat"))
    assert "Alike" not in str(refused.value)


def test_of_several_namings_the_one_that_fits_is_taken() -> None:
    model = nameless(namings=(("1", "2", "3", "4", "5"), toys.CLASSES))
    assert model.bind(("dog", "ant")).classes == toys.CLASSES
    assert model.bind(("5",)).classes == ("1", "2", "3", "4", "5")
    with pytest.raises(BadInput, match=r"1 of the 2 classes of the data are not among the model's: fox"):
        model.bind(("1", "fox"))
