"""The callback of Lightning: what stays, what is measured, and the repair at the end."""

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from reclaim.bridges.callbacks import lightning_callback
from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from tests import toys
from tests.wrapping import Plain, rows, trained

lightning: Any = require("lightning.pytorch", extra="lightning")
TRAIN, HELD_OUT = TensorDataset(*rows("train")), TensorDataset(*rows("test"))
SEEN = [0, 2, 3]
CHOICES = Choices(mix=0.6, select="gap-matching")


class Module(lightning.LightningModule):
    """As people write them: the network is a part."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self.network(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)


@pytest.fixture(scope="module")
def pretrained() -> Any:
    return trained(Plain(), every=True, steps=60)


def fitted(network: nn.Module, callback: Any, folder: Path, validated: Any = HELD_OUT) -> Any:
    """Lightning's trainer, after three epochs."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[callback],
    )
    held_out = None if validated is None else DataLoader(validated, batch_size=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few batches and few workers
        trainer.fit(Module(network), DataLoader(TRAIN, batch_size=16, shuffle=True), held_out)
    return trainer


def test_it_keeps_absent_rows_measures_both_groups_and_ends_with_a_repaired_network(pretrained, tmp_path) -> None:
    network = copy.deepcopy(pretrained)
    callback = lightning_callback(network, SEEN, choices=CHOICES, replace=False)
    trainer = fitted(network, callback, tmp_path)
    for name in ("head.weight", "head.bias"):
        now, start = network.state_dict()[name], pretrained.state_dict()[name]
        assert torch.equal(now[~toys.SEEN], start[~toys.SEEN]) and not torch.equal(now[toys.SEEN], start[toys.SEEN])

    x, y = rows("test")
    with torch.no_grad():
        right = network.eval()(x).argmax(dim=1) == y
    assert len(callback.history) == 3, "the batches tried before training do not count"
    last = callback.history[-1]
    assert last.seen == pytest.approx(float(right[toys.SEEN[y]].double().mean()))
    assert last.absent == pytest.approx(float(right[~toys.SEEN[y]].double().mean()))
    assert float(trainer.callback_metrics["val_seen_accuracy"]) == pytest.approx(last.seen)
    assert float(trainer.callback_metrics["val_absent_accuracy"]) == pytest.approx(last.absent)

    expected = repair(pretrained, network, (x, y), CHOICES, seen=SEEN)
    assert toys.same(callback.repaired.model.state_dict(), expected.model.state_dict())


def test_the_network_gets_the_repaired_weights_and_what_has_no_rows_is_not_measured(pretrained, tmp_path) -> None:
    network, (x, y) = copy.deepcopy(pretrained), rows("test")
    shown = toys.SEEN[y]
    callback = lightning_callback(network, SEEN, (x, y), choices=CHOICES)
    trainer = fitted(network, callback, tmp_path, TensorDataset(x[shown], y[shown]))
    assert toys.same(network.state_dict(), callback.repaired.model.state_dict())
    assert all(one.absent is None and one.seen is not None for one in callback.history)
    assert callback.history[0].record("val_")["val_absent_accuracy"] == "not measured"
    assert "val_seen_accuracy" in trainer.callback_metrics and "val_absent_accuracy" not in trainer.callback_metrics


def test_without_rows_to_repair_by_it_is_refused_before_training(pretrained, tmp_path) -> None:
    network = copy.deepcopy(pretrained)
    with pytest.raises(BadInput, match="the trainer validates nothing"):
        fitted(network, lightning_callback(network, SEEN), tmp_path, None)
    assert toys.same(network.state_dict(), pretrained.state_dict())
