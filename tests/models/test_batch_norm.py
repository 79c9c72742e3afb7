"""Running statistics after mixing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.loader import parts_of
from reclaim.data.records import Split
from reclaim.models.batch_norm import measure_again, statistics_differ
from reclaim.models.classifier import Classifier
from tests import toys
from tests.toys import copied

ROWS = toys.data(n=197).split("train")  # a prime number: no chunk size divides it


def inputs(rows: Split) -> Tensor:
    return torch.from_numpy(np.stack([rows.read(i) for i in range(len(rows))]))


def deep(*first: nn.Module) -> Classifier:
    """Batch norms behind each other."""
    torch.manual_seed(0)
    net = nn.Sequential(*first, nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.BatchNorm1d(6))
    return toys.classifier(module=nn.Sequential(net, nn.Linear(6, 5)))


def test_they_are_those_of_all_rows() -> None:
    model = toys.classifier()
    kept = copied(model.weights)
    fresh = measure_again(model, ROWS)
    x = model.module.first(inputs(ROWS)).detach()
    found = fresh.weights["norm.running_mean"], fresh.weights["norm.running_var"]
    torch.testing.assert_close(found, (x.mean(dim=0), x.var(dim=0)))
    assert toys.same(model.weights, kept) and not fresh.module.training
    assert all(
        torch.equal(fresh.weights[name], kept[name])
        for name in kept
        if not name.startswith("norm.r") and "num" not in name
    )


def test_they_are_those_of_all_rows_and_positions() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    model, rows = toys.classifier(module=net), toys.images(n=70).split("train")
    fresh = measure_again(model, rows).module[1]
    x = net[0](inputs(rows)[:, None]).detach()
    expected = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))
    torch.testing.assert_close((fresh.running_mean, fresh.running_var), expected)


@pytest.mark.parametrize("size", [1, 7, 196, 1000])
def test_they_do_not_depend_on_the_batch_size(size: int) -> None:
    models = [measure_again(deep(), ROWS, Inference(batch_size=b)) for b in (None, size)]
    assert toys.same(*(model.weights for model in models))


@pytest.mark.parametrize("rows", [2, 33, 65, 97])
def test_no_chunk_is_left_with_one_row(rows: int) -> None:
    """One row of a chunk of its own would be normalised to zero, and pull the second layer's variance down."""
    some = ROWS.rows(torch.arange(rows))
    fresh, x = measure_again(deep(), some), inputs(some)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
    chunks = [x[order[part]] for part in parts_of(rows, 32, even=True)]
    assert min(map(len, chunks)) >= max(map(len, chunks)) - 1
    parts = [deep().module[0][:2].train()(chunk) for chunk in chunks]
    second = deep().module[0][3](torch.cat(parts).relu())
    norm = fresh.module[0][4]
    torch.testing.assert_close((norm.running_mean, norm.running_var), (second.mean(dim=0), second.var(dim=0)))


def test_large_numbers_with_a_small_spread_keep_it() -> None:
    far = Split(ROWS.labels, lambda i: ROWS.read(i) + np.float32(4096), str)
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 5))
    fresh = measure_again(toys.classifier(module=net), far).module[0]
    x = inputs(far).double()
    torch.testing.assert_close(fresh.running_var.double(), x.var(dim=0), rtol=1e-4, atol=0)
    torch.testing.assert_close(fresh.running_mean.double(), x.mean(dim=0), rtol=1e-7, atol=0)


def test_a_layer_that_is_called_twice_has_those_of_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            self.norm(x)
            return self.head(self.norm(2 * x + 1))

    fresh = measure_again(toys.classifier(module=Twice()), ROWS).module.norm
    both = torch.cat([inputs(ROWS), 2 * inputs(ROWS) + 1])
    torch.testing.assert_close((fresh.running_mean, fresh.running_var), (both.mean(dim=0), both.var(dim=0)))


@pytest.mark.parametrize("momentum", [0.1, None, 1.0])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.SyncBatchNorm])
def test_momentum_does_not_matter_and_synchronised_ones_are_measured_alike(kind: type, momentum: float | None) -> None:
    model = deep()
    model.module[0][4] = kind(6, momentum=momentum)
    model.module[0][4].load_state_dict(deep().module[0][4].state_dict())
    model.module.eval()
    assert toys.same(measure_again(model, ROWS).weights, measure_again(deep(), ROWS).weights)


def test_layers_without_statistics_and_such_that_are_not_called_stay() -> None:
    model = deep()
    model.module[0][1] = nn.BatchNorm1d(8, track_running_stats=False).eval()
    model.module.spare = nn.BatchNorm1d(2)
    model.module.spare.running_mean.fill_(3)
    model.module.forward = lambda x: model.module[1](model.module[0](x))
    fresh = measure_again(replace(model, head="1"), ROWS).module
    assert fresh[0][1].running_mean is None
    assert fresh.spare.running_mean.tolist() == [3, 3] and not fresh.spare.num_batches_tracked


def test_every_part_keeps_its_mode_and_dropout_is_off() -> None:
    model = deep(nn.Dropout(0.5))
    model.module.train()
    model.module[0][2].eval()  # a frozen one
    modes = [part.training for part in model.module.modules()]
    fresh = measure_again(model, ROWS)
    assert [part.training for part in fresh.module.modules()] == modes
    assert toys.same(fresh.weights, measure_again(model, ROWS).weights)
    still = deep(nn.Identity())
    assert toys.same(fresh.weights, measure_again(still, ROWS).weights)
    assert not any(part._forward_pre_hooks for part in (*fresh.module.modules(), *model.module.modules()))


def test_one_row_is_refused() -> None:
    with pytest.raises(BadInput, match="two rows or more; given: 1"):
        measure_again(toys.classifier(), ROWS.rows(torch.arange(1)))


def test_only_statistics_count_as_different() -> None:
    theta = toys.classifier().weights
    assert not statistics_differ(theta, theta | {"head.bias": theta["head.bias"] + 1})
    assert statistics_differ(theta, theta | {"norm.running_var": theta["norm.running_var"] + 1})
