"""Fit a new head to frozen features: one forward pass and a convex problem."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.numbers import Few, Whole, in_range
from reclaim.data.division import divided
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head import ends_with_head, first_row, settled
from reclaim.models.predict import predict
from reclaim.training.budget import Budget

__all__ = ["linear_probe", "regression"]


@in_range
def linear_probe(
    model: Classifier,
    data: Data,
    budget: Budget = Budget(),
    *,
    strengths: Few = 10,
    iterations: Whole = 200,
) -> Classifier:
    """Fit multinomial logistic regression on the frozen features of seen classes and make it the head.

    The features are drawn once, in evaluation mode and without augmentation, and standardised by one mean and one
    standard deviation, which are folded back into the head. The inverse L2 strength is the one of a grid from 1e-7 to
    1e2 with the best accuracy on the validation rows of seen classes (a fifth of the training rows without such).

    Args:
        strengths: size of the grid.
        iterations: the most steps of the convex fit per strength; 0 changes nothing.

    Raises: BadInput if only one class is seen, or the network goes on after its last layer.
    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    Differs: rows of absent classes keep their pretrained weights instead of zeros, so an offset can bring them back;
        10 strengths instead of 50; no augmentation. Of the budget only seed, batch size and workers are used.
    """
    tuned = settled(model, data).copy()
    if not iterations:
        return tuned
    if not ends_with_head(tuned, first_row(tuned, data.seen_only("train"))):
        raise BadInput(
            f"the network {model.name!r} goes on after its last layer {model.head!r}, so fitting that layer to "
            "features is not a convex problem.\n  Train it by gradient steps instead: frozen-backbone."
        )
    f, y = _features(tuned, data, "train", budget)
    if len(set(y.tolist())) < 2:
        raise BadInput("a linear probe needs training rows of at least two seen classes; there is one.")
    if "val" in data.splits and len(data.seen_only("val")):
        fit_f, fit_y, (test_f, test_y) = f, y, _features(tuned, data, "val", budget)
    else:
        held, kept = _fifth(len(y), budget.seed, data.seen_only("train").groups)
        fit_f, fit_y, test_f, test_y = f[kept], y[kept], f[held], y[held]
        if not len(held) or len(set(fit_y.tolist())) < 2:
            raise BadInput(
                "a fifth of the training rows judges the strengths of a linear probe, in whole groups, and that leaves "
                f"{len(held)} rows to judge and {len(kept)} to fit, of {len(set(fit_y.tolist()))} classes.\n"
                "  Give validation rows of seen classes: a split val."
            )
    mean, std = float(f.mean()), float(f.std()) or 1.0
    weight, bias = regression((fit_f - mean) / std, fit_y, (test_f - mean) / std, test_y, strengths, iterations)

    seen = data.seen_classes
    present = [seen[i] for i in sorted(set(fit_y.tolist()))]
    scaled = torch.from_numpy(weight / std).float()
    _put(tuned, present, scaled, torch.from_numpy(bias - weight.sum(axis=1) * mean / std).float())
    return tuned


def _fifth(num_rows: int, seed: int, groups: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """A random fifth of the rows and the rest, as indices; rows of one group are on one side."""
    if groups is not None:
        held, kept = divided(num_rows, num_rows // 5, seed, groups)
        return held.numpy(), kept.numpy()
    order = torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed)).numpy()
    return order[: num_rows // 5], order[num_rows // 5 :]


def _features(model: Classifier, data: Data, split: str, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] of the rows of seen classes, and their labels as indices among the seen classes [N]."""
    rows = data.seen_only(split)
    f = predict(model, replace(data, splits={split: rows}), split, inference=budget.inference).features
    assert f is not None
    among_seen = data.seen.cumsum(dim=0) - 1
    return f.numpy(), among_seen[rows.labels].numpy()


def regression(
    f: np.ndarray, y: np.ndarray, test_f: np.ndarray, test_y: np.ndarray, strengths: int, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """The weights [K, D] and biases [K] with the best accuracy on the test rows; of equal ones the most regularised."""
    best, found = -1.0, None
    model = LogisticRegression(warm_start=True, max_iter=iterations)
    for inverse in np.logspace(-7, 2, strengths):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the accuracy below judges the fit
            model.set_params(C=inverse).fit(f, y)
        if (score := float(model.score(test_f, test_y))) > best:
            best, found = score, (model.coef_.copy(), model.intercept_.copy())
    assert found is not None
    weight, bias = found
    if len(weight) == 1:  # two classes: one row stands for their difference
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return weight, bias


@torch.no_grad()
def _put(model: Classifier, classes: list[str], weight: Tensor, bias: Tensor) -> None:
    """Replace the head's rows of these classes."""
    layer, columns = model.last_layer, model.columns(classes)
    layer.weight[columns] = weight.view(-1, *layer.weight.shape[1:]).to(layer.weight)
    if layer.bias is None:
        layer.bias = nn.Parameter(layer.weight.new_zeros(model.num_outputs))
    layer.bias[columns] = bias.to(layer.bias)
