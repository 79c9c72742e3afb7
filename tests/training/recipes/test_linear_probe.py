"""The linear probe: convex, folded back, and blind to absent classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from reclaim.core.errors import BadInput
from reclaim.models.predict import predict
from reclaim.training.budget import Budget
from reclaim.training.recipes.linear_probe import linear_probe, regression
from tests import toys

NOTHING = {"iterations": 0}
DATA = toys.data()


def test_the_folded_head_answers_as_the_regression_on_standardised_features_does() -> None:
    model = toys.classifier()
    train, val = predict(model, DATA, "train").seen_rows(), predict(model, DATA, "val").seen_rows()
    f, std = train.features.double().mean(), train.features.double().std(correction=0)
    among_seen = toys.SEEN.cumsum(0) - 1

    def standardised(features: torch.Tensor) -> torch.Tensor:
        return (features.double() - f) / std

    fitted = regression(
        standardised(train.features).float().numpy(), among_seen[train.labels].numpy(),
        standardised(val.features).float().numpy(), among_seen[val.labels].numpy(), 10, 200,
    )  # fmt: skip
    weight, bias = map(torch.from_numpy, fitted)
    test = predict(linear_probe(model, DATA), DATA, "test")
    expected = standardised(test.features) @ weight.double().T + bias.double()
    torch.testing.assert_close(test.logits[:, toys.SEEN].double(), expected, atol=1e-4, rtol=1e-4)


def test_the_regression_is_the_one_of_the_best_strength() -> None:
    model = toys.classifier()
    rows, val = predict(model, DATA, "train"), predict(model, DATA, "val").seen_rows()
    f, y = rows.features.numpy(), rows.labels.numpy()
    f, test = (f - f.mean()) / f.std(), (val.features.numpy() - f.mean()) / f.std()
    scores = [
        LogisticRegression(C=c, max_iter=2000).fit(f, y).score(test, val.labels.numpy()) for c in np.logspace(-7, 2, 10)
    ]
    probed = predict(linear_probe(model, DATA, iterations=2000), DATA, "val").seen_rows()
    right = probed.logits[:, toys.SEEN].argmax(1) == (toys.SEEN.cumsum(0) - 1)[probed.labels]
    assert float(right.double().mean()) == max(scores)


def test_the_strongest_regularisation_answers_the_same_for_every_row() -> None:
    rows = predict(linear_probe(toys.classifier(), DATA, strengths=1), DATA, "test")
    assert float(rows.logits[:, toys.SEEN].softmax(1).std(dim=0).max()) < 1e-3


def test_two_seen_classes_share_the_difference_evenly() -> None:
    two = DATA.with_seen(("ant", "dog"))
    probed = linear_probe(toys.classifier(), two)
    weight = probed.last_layer.weight[[0, 3]]
    torch.testing.assert_close(weight[0], -weight[1])


def test_without_validation_rows_training_rows_choose_the_strength() -> None:
    alone = replace(DATA, splits={"train": DATA.split("train")})
    rows = predict(linear_probe(toys.classifier(), alone), DATA, "test").seen_rows()
    assert float((rows.logits[:, toys.SEEN].argmax(1) == (toys.SEEN.cumsum(0) - 1)[rows.labels]).float().mean()) > 0.9


def test_a_head_without_a_bias_gets_one() -> None:
    probed = linear_probe(toys.classifier(module=toys.biasless()), DATA)
    assert probed.last_layer.bias is not None and bool((probed.last_layer.bias[~toys.SEEN] == 0).all())


def test_the_backbone_stays() -> None:
    model = toys.classifier()
    probed = linear_probe(model, DATA, Budget())
    assert all(torch.equal(probed.weights[n], model.weights[n]) for n in model.weights if not n.startswith("head"))


def test_one_class_or_a_network_that_goes_on_is_refused() -> None:
    with pytest.raises(BadInput, match="at least two seen classes"):
        linear_probe(toys.classifier(), DATA.with_seen(("ant",)))
    with pytest.raises(BadInput, match=r"goes on after its last layer 'head'.*\n.*frozen-backbone"):
        linear_probe(toys.classifier(module=toys.GoesOn()), toys.images())


def test_training_rows_of_one_group_leave_none_to_judge() -> None:
    data = toys.data()
    train = data.split("train")
    one = replace(train, groups=torch.zeros(len(train), dtype=torch.int64))
    with pytest.raises(BadInput, match="in whole groups, and that leaves"):
        linear_probe(toys.classifier(), replace(data, splits={"train": one}))
