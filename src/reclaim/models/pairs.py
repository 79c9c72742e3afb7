"""Whether two models are a pretrained one and the same one fine-tuned, and see inputs prepared in one way."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import FunctionType
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from reclaim.core.errors import Argument, BadInput
from reclaim.data.inputs.image import Preprocess
from reclaim.models.classifier import Classifier
from reclaim.models.placement import device_of

__all__ = ["Prepare", "common_start", "paired"]

log = logging.getLogger(__name__)

Prepare: TypeAlias = Literal["before", "after"]

UNRELATED = 0.1  # cosine between the weights; that of independent ones is 0, of fine-tuned ones rarely below a half
ENOUGH = 1000  # weights, to tell a small cosine from chance


def paired(before: Classifier, after: Classifier, prepare: Prepare | None = None) -> tuple[Classifier, Classifier]:
    """Both models, with one way of preparing images; what looks wrong with the pair is said in one line each.

    Args:
        prepare: whose way of preparing images is right, where they differ. By default that of the only one of which it
            is on record.

    Raises: BadInput if the two prepare images in different ways, and nothing says which is right; or if one of them has
        no weights.
    """
    for model in (before, after):
        device_of(model.module)
    if before.seen is not None and after.seen is None:
        log.warning(
            "`before` is on record as fine-tuned on %d classes, and `after` is not: were they exchanged?",
            len(before.seen),
        )
    cosine = common_start(before.weights, after.weights, before.head)
    if cosine is None:
        log.warning("`before` and `after` have the same weights: nothing was damaged, and there is nothing to repair.")
    elif cosine < UNRELATED:
        log.warning(
            "`before` and `after` seem to be unrelated: the cosine between their weights is %.2f, as between networks "
            "trained independently. Mixtures of such weights answer nothing useful.",
            cosine,
        )
    return _prepared(before, after, prepare)


@torch.no_grad()
def common_start(theta_0: Mapping[str, Tensor], theta_1: Mapping[str, Tensor], head: str) -> float | None:
    """The cosine between the weights of two networks; None if all of their entries are equal.

    Matrices and kernels count, each less its mean; the head, biases and normalisation do not. 1 if there are too few to
    tell.
    """
    product = squares_0 = squares_1 = 0.0
    count, equal = 0, True
    for name, start in theta_0.items():
        end = theta_1.get(name)
        if end is None or end.shape != start.shape:
            equal = False
            continue
        if not start.is_floating_point():
            continue
        equal = equal and torch.equal(start, end.to(start))
        if start.ndim < 2 or name.startswith(f"{head}."):
            continue
        a, b = (tensor.float() - tensor.float().mean() for tensor in (start, end.to(start.device)))
        product += float((a * b).sum())
        squares_0 += float(a.square().sum())
        squares_1 += float(b.square().sum())
        count += start.numel()
    if equal:
        return None
    return product / (squares_0 * squares_1) ** 0.5 if count >= ENOUGH and squares_0 and squares_1 else 1.0


def _prepared(before: Classifier, after: Classifier, prepare: Prepare | None) -> tuple[Classifier, Classifier]:
    first, last = before.preprocess, after.preprocess
    if first == last or _shown(first) == _shown(last):
        return before, after
    what = "images" if isinstance(first, Preprocess) or isinstance(last, Preprocess) else "inputs"
    if prepare is None and before.recorded != after.recorded:
        prepare = "before" if before.recorded else "after"
        log.warning(
            "how %s are prepared is on record for `%s` only; the other model's are prepared so too: %s.",
            what,
            prepare,
            _shown(first if before.recorded else last),
        )
    if prepare is None:
        raise BadInput(
            f"the two models prepare {what} in different ways, and a pair must see the same ones.\n"
            f"  before: {_shown(first)}\n  after: {_shown(last)}",
            Argument("prepare", "say whose way is right", "after"),
        )
    right = first if prepare == "before" else last
    return replace(before, preprocess=right), replace(after, preprocess=right)


def _shown(how: object) -> str:
    """What makes inputs, for people and to be compared: its fields, and functions by their names.

    Two functions of one name are taken as one: a factory that is called twice makes two.
    """
    if isinstance(how, type | FunctionType):
        return how.__qualname__
    if not is_dataclass(how):
        return type(how).__qualname__
    own = [(field.name, vars(how)[field.name]) for field in fields(how) if field.compare]
    said = [f"{name} {_shown(value) if callable(value) else value}" for name, value in own if value not in _NOTHING]
    return ", ".join(([] if isinstance(how, Preprocess) else [type(how).__name__]) + said)


_NOTHING: tuple[object, ...] = (None, (), False, "")
