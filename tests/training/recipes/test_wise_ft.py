"""WiSE-FT as a recipe: its two ends, and statistics of its own in between."""

import torch

from reclaim.models.batch_norm import measure_again
from reclaim.models.merges.interpolation import interpolation
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from reclaim.training.recipes.wise_ft import wise_ft
from tests import toys

DATA = toys.data()
BUDGET = Budget(epochs=3, learning_rate=0.05, batch_size=16)


def test_the_ends_are_the_given_model_and_fine_tuning() -> None:
    model = toys.classifier()
    back = wise_ft(model, DATA, BUDGET, alpha=0.0).weights
    assert all(torch.equal(back[n], model.weights[n]) for n in back if "num_batches" not in n)
    assert toys.same(wise_ft(model, DATA, BUDGET, alpha=1.0).weights, fine_tune(model, DATA, BUDGET).weights)


def test_with_frozen_statistics_it_is_the_interpolation() -> None:
    model = toys.classifier()
    tuned = fine_tune(model, DATA, BUDGET, mode="eval")
    mixed = wise_ft(model, DATA, BUDGET, alpha=0.3, mode="eval")
    assert toys.same(mixed.weights, interpolation(model.weights, tuned.weights, alpha=0.3))


def test_statistics_that_differ_are_measured_on_the_mixture() -> None:
    model = toys.classifier()
    tuned = fine_tune(model, DATA, BUDGET)
    plain = model.with_weights(interpolation(model.weights, tuned.weights, alpha=0.5))
    mixed = wise_ft(model, DATA, BUDGET, alpha=0.5).weights
    assert toys.same(mixed, measure_again(plain, DATA.split("train"), BUDGET.inference).weights)
    assert not torch.equal(mixed["norm.running_mean"], plain.weights["norm.running_mean"])
