"""Full fine-tuning: everything moves, and its two modes."""

import torch

from reclaim.models.predict import predict
from reclaim.report.diagnoses.logit_gap import logit_gap
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys

BUDGET = Budget(epochs=2, learning_rate=0.05, batch_size=16)


def test_every_layer_moves() -> None:
    model = toys.classifier()
    tuned = fine_tune(model, toys.data(), BUDGET)
    assert all(not torch.equal(tuned.weights[n], model.weights[n]) for n in model.weights)


def test_in_evaluation_mode_running_statistics_stay() -> None:
    model = toys.classifier()
    tuned = fine_tune(model, toys.data(), BUDGET, mode="eval")
    assert torch.equal(tuned.weights["norm.running_var"], model.weights["norm.running_var"])
    assert not torch.equal(tuned.weights["norm.weight"], model.weights["norm.weight"])


def test_training_on_some_classes_sinks_the_logits_of_the_others() -> None:
    """The damage that the whole project is about."""
    data = toys.data(n=300)
    everything = toys.replace_seen(data, torch.ones(5, dtype=torch.bool))
    before = fine_tune(toys.classifier(), everything, Budget(epochs=20, learning_rate=0.05, batch_size=16))
    after = fine_tune(before, toys.data(n=300, move=0.5), Budget(epochs=20, learning_rate=0.05, batch_size=16))
    target = toys.data(n=300, move=0.5)
    assert logit_gap(predict(before, target, "test"), predict(after, target, "test")).damaged
