"""The head alone answers as the whole network does."""

from dataclasses import replace

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Preprocess
from reclaim.models.head_alone import head_alone
from reclaim.models.predict import predict
from tests import toys


def test_it_answers_on_its_features_as_the_network_on_the_rows_of_seen_classes() -> None:
    model, data = replace(toys.classifier(), preprocess=Preprocess(mean=(0.5,), std=(2.0,))), toys.data()
    head, features = head_alone(model, data)
    assert list(features.splits) == ["train", "val"] and torch.equal(features.seen, data.seen)
    for name in features.splits:
        alone, whole = predict(head, features, name), predict(model, data, name).seen_rows()
        assert torch.equal(alone.labels, whole.labels)
        torch.testing.assert_close(alone.logits, whole.logits)


def test_its_weights_are_its_own() -> None:
    model = toys.classifier()
    head, _ = head_alone(model, toys.data())
    kept = model.last_layer.weight.clone()
    torch.nn.init.zeros_(head.last_layer.weight)
    assert torch.equal(model.last_layer.weight, kept)


def test_a_network_that_goes_on_after_its_head_is_refused() -> None:
    with pytest.raises(BadInput, match=r"goes on after its last layer 'head'.*\n.*whole network"):
        head_alone(toys.classifier(module=toys.GoesOn()), toys.images())
