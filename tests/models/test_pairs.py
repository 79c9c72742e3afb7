"""Pairs of models: exchanged, unrelated, the same twice, and inputs prepared in two ways."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.text import Texts
from reclaim.models.classifier import Classifier
from reclaim.models.networks import digits_cnn
from reclaim.models.pairs import common_start, paired
from reclaim.repairs.models import repair
from tests import toys


def network(seed: int) -> Classifier:
    torch.manual_seed(seed)
    return toys.classifier(seed, digits_cnn())


def moved(model: Classifier, share: float) -> Classifier:
    """Every weight moved by a share of its tensor's spread, as a fine-tuning would."""
    random = torch.Generator().manual_seed(7)
    theta = dict(model.weights)
    for name, t in theta.items():
        if t.is_floating_point() and t.numel() > 1:
            theta[name] = t + share * t.std() * torch.randn(t.shape, generator=random)
    return model.with_weights(theta)


START = network(0)
FIRST, SECOND = Preprocess(channels=1, mean=(0.5,), std=(0.2,)), Preprocess(channels=1, mean=(0.1,), std=(0.3,))


def said(caplog: pytest.LogCaptureFixture, before: Classifier, after: Classifier) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "reclaim.models.pairs"):
        paired(before, after)
    return caplog.messages


def test_the_cosine_is_that_of_all_kernels_less_their_means() -> None:
    """Expected: numpy, of the kernels alone."""
    a, b = START, moved(START, 0.5)
    parts = [
        [t - t.mean() for t in (a.weights[n].double().numpy(), b.weights[n].double().numpy())]
        for n, t in a.weights.items()
        if t.ndim > 1 and not n.startswith(a.head)
    ]
    u, v = (np.concatenate([pair[i].ravel() for pair in parts]) for i in (0, 1))
    found = common_start(a.weights, b.weights, a.head)
    assert found == pytest.approx(u @ v / np.sqrt((u @ u) * (v @ v)), rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_networks_trained_independently_are_said_to_be_and_fine_tuned_ones_are_not(caplog, seed: int) -> None:
    assert "seem to be unrelated" in said(caplog, START, network(seed))[0]
    for share in (0.01, 0.5, 2.0):
        assert said(caplog, START, moved(START, share)) == []


def test_the_same_model_twice_is_said(caplog) -> None:
    assert "have the same weights" in said(caplog, START, START.copy())[0]


def test_exchanged_models_are_said(caplog) -> None:
    tuned = replace(moved(START, 0.1), seen=("ant", "cat"))
    assert "were they exchanged?" in said(caplog, tuned, START)[0]
    assert said(caplog, START, tuned) == said(caplog, tuned, replace(moved(START, 0.2), seen=("ant",))) == []


def test_two_ways_of_preparing_images_on_record_are_an_error_that_shows_both_unless_told() -> None:
    before = replace(START, preprocess=FIRST, recorded=True)
    after = replace(moved(START, 0.1), preprocess=SECOND, recorded=True)
    both = r"before: channels 1, mean \(0.5,\).*\n  after: channels 1, mean \(0.1,\)"
    with pytest.raises(BadInput, match=both) as refused:
        paired(before, after)
    assert "prepare='after'" in str(refused.value)
    assert [m.preprocess for m in paired(before, after, "before")] == [FIRST, FIRST]
    assert [m.preprocess for m in paired(before, after, "after")] == [SECOND, SECOND]
    with pytest.raises(BadInput, match="prepare images in different ways"):
        repair(before, after, toys.images())


def test_where_one_way_only_is_on_record_it_is_taken_and_said(caplog) -> None:
    before = replace(START, preprocess=FIRST, recorded=True)
    after = replace(moved(START, 0.1), preprocess=Preprocess(channels=1))
    with caplog.at_level(logging.WARNING):
        assert [m.preprocess for m in paired(before, after)] == [FIRST, FIRST]
    assert "on record for `before` only; the other model's are prepared so too: channels 1, mean (0.5,)" in caplog.text


@dataclass(frozen=True)
class Spelt:
    """A tokenizer that says which it is."""

    says: str
    ids: Callable[[str], Mapping[str, Sequence[int]]] = field(compare=False)

    def __call__(self, text: str) -> Mapping[str, Sequence[int]]:
        return self.ids(text)


def texts(says: str, most: int | None = None) -> Classifier:
    make = Texts(Spelt(says, lambda text: {"ids": [len(text)]}), most=most)
    return replace(toys.classifier(), preprocess=make, recorded=True)


def test_texts_that_are_prepared_in_two_ways_are_shown_too() -> None:
    assert paired(texts("words"), texts("words"))[0].preprocess == texts("words").preprocess
    with pytest.raises(BadInput, match=r"prepare inputs in different ways(.|\n)*before: .*words(.|\n)*after: .*signs"):
        paired(texts("words"), texts("signs"))
    with pytest.raises(BadInput, match="most 7"):
        paired(texts("words"), texts("words", most=7))


def test_images_and_what_is_none_are_prepared_in_two_ways() -> None:
    images = replace(toys.classifier(), preprocess=Preprocess(crop=8), recorded=True)
    with pytest.raises(BadInput, match=r"prepare images in different ways(.|\n)*before: crop 8(.|\n)*after: Texts, "):
        paired(images, texts("words"))
    assert paired(images, texts("words"), "after")[0].preprocess == texts("words").preprocess


def test_a_factory_that_is_called_twice_makes_inputs_in_one_way() -> None:
    def made() -> Classifier:
        return replace(toys.classifier(), preprocess=Texts(lambda text: {"ids": [len(text)]}), recorded=True)

    assert paired(made(), made())[1].recorded
