"""LP-FT: it starts where the probe ends."""

import torch

from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from reclaim.training.recipes.linear_probe import linear_probe
from reclaim.training.recipes.lp_ft import lp_ft
from tests import toys

NOTHING = {"probe_iterations": 0}
DATA = toys.data()
BUDGET = Budget(epochs=3, learning_rate=0.05, batch_size=16)


def test_without_fine_tuning_it_is_the_probe() -> None:
    none = Budget(epochs=0)
    assert toys.same(lp_ft(toys.classifier(), DATA, none).weights, linear_probe(toys.classifier(), DATA, none).weights)


def test_without_the_probe_it_is_fine_tuning() -> None:
    tuned = lp_ft(toys.classifier(), DATA, BUDGET, probe_iterations=0)
    assert toys.same(tuned.weights, fine_tune(toys.classifier(), DATA, BUDGET, mode="eval").weights)


def test_it_is_fine_tuning_from_the_probe() -> None:
    probed = linear_probe(toys.classifier(), DATA, BUDGET)
    assert toys.same(
        lp_ft(toys.classifier(), DATA, BUDGET).weights, fine_tune(probed, DATA, BUDGET, mode="eval").weights
    )


def test_running_statistics_stay_those_of_the_probe() -> None:
    model = toys.classifier()
    assert torch.equal(lp_ft(model, DATA, BUDGET).weights["norm.running_mean"], model.weights["norm.running_mean"])
