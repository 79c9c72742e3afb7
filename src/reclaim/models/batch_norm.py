"""Running statistics of batch norms after mixing weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from reclaim.core.devices import find_device
from reclaim.core.inference import Inference
from reclaim.core.progress import track
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import moved
from reclaim.data.records import Split
from reclaim.models.classifier import Classifier
from reclaim.models.forward import Run
from reclaim.models.placement import placed_on
from reclaim.models.predict import evaluation_batches
from reclaim.models.weights import is_running_statistic

__all__ = ["measure_again", "statistics_differ"]


def statistics_differ(theta_0: Mapping[str, Tensor], theta_1: Mapping[str, Tensor]) -> bool:
    """Whether two models' running statistics differ, so that those of their mixture are wrong."""
    return any(is_running_statistic(name) and not torch.equal(theta_0[name], theta_1[name]) for name in theta_0)


ENOUGH = 4096  # rows after which statistics no longer change to speak of


def measure_again(model: Classifier, rows: Split, inference: Inference = Inference()) -> Classifier:
    """The classifier with running statistics measured on `rows`, without gradients; a copy.

    The rows are shuffled, because in a folder they come class by class and batches of one class vary too little, and
    of many rows some thousand are taken.
    """
    fresh = model.copy()
    where = find_device(inference.device)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:ENOUGH]
    loader = evaluation_batches(model, rows.rows(order), inference)

    def inputs() -> Iterator[list[Inputs]]:  # update_bn takes the first of each
        for x, _ in track(loader, "batch norm", total=len(loader)):
            yield [moved(x, where)]

    with placed_on(fresh.module, where, returns=True) as module:
        update_bn(inputs(), Run(module))
    for part, given in zip(fresh.module.modules(), model.module.modules(), strict=True):
        part.training = given.training
    return fresh
