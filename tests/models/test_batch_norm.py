"""Running statistics after mixing."""

import numpy as np
import torch

from reclaim.models.batch_norm import measure_again, statistics_differ
from tests import toys
from tests.toys import copied


def test_they_are_those_of_the_rows() -> None:
    model, rows = toys.classifier(), toys.data().split("train")
    kept = copied(model.weights)
    fresh = measure_again(model, rows)
    x = model.module.first(torch.from_numpy(np.stack([rows.read(i) for i in range(len(rows))])))
    torch.testing.assert_close(fresh.weights["norm.running_mean"], x.mean(dim=0), atol=0.05, rtol=0.05)
    torch.testing.assert_close(fresh.weights["norm.running_var"], x.var(dim=0), atol=0.05, rtol=0.15)
    assert toys.same(model.weights, kept) and not fresh.module.training
    assert all(
        torch.equal(fresh.weights[name], kept[name])
        for name in kept
        if not name.startswith("norm.r") and "num" not in name
    )


def test_only_statistics_count_as_different() -> None:
    theta = toys.classifier().weights
    assert not statistics_differ(theta, theta | {"head.bias": theta["head.bias"] + 1})
    assert statistics_differ(theta, theta | {"norm.running_var": theta["norm.running_var"] + 1})
