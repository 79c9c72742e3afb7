"""Two heads over other classes, joined by the names of their rows: one network that answers the union."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reclaim.core.errors import Argument, BadInput, alike, few, meant
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import moved
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.merges.interpolation import interpolation
from reclaim.models.placement import device_of
from reclaim.models.weights import Weights

__all__ = [
    "AFTER",
    "BEFORE",
    "Union",
    "both_heads",
    "check_heads",
    "check_same_heads",
    "heads_differ",
    "stitched",
    "union_of",
    "with_rows",
]

log = logging.getLogger(__name__)

BEFORE, AFTER = "before ", "after "  # what stands before the names of a network that has both heads
CLOSE = 1e-4  # of the largest logit: more than rounding, less than any other network
INSTEAD = "Fine-tune with one linear layer as the head, or with the pretrained head, whose absent rows `tune` keeps"


@dataclass(frozen=True)
class Union:
    """The classes of two heads, joined by name.

    Attributes:
        classes: those of the pretrained model in its order, then those that only the fine-tuned one has.
        tuned: [U], True for the classes whose row of the head is the fine-tuned model's; the others are absent ones.
        shared: the classes with such a row that the pretrained model has too.
    """

    classes: tuple[str, ...]
    tuned: tuple[bool, ...]
    shared: tuple[str, ...]

    @property
    def tuned_classes(self) -> tuple[str, ...]:
        """The names of the classes whose row is the fine-tuned model's."""
        return tuple(name for name, own in zip(self.classes, self.tuned, strict=True) if own)


def heads_differ(before: Classifier, after: Classifier) -> bool:
    """Whether two models answer other classes, as far as their names or numbers tell."""
    if before.classes and after.classes:
        return set(before.classes) != set(after.classes)
    return before.num_outputs != after.num_outputs


def check_same_heads(before: Classifier, after: Classifier) -> None:
    """Raise for two models that answer other classes, where every weight is mixed."""
    if heads_differ(before, after):
        raise BadInput(
            f"the two models answer other classes ({before.num_outputs} and {after.num_outputs}), and a merge mixes "
            "every weight, those of the head too.\n  `repair` of the two, with data, joins their heads by name."
        )


def union_of(before: Sequence[str], after: Sequence[str], tuned: Collection[str]) -> Union:
    """The classes of both heads by name; what only the fine-tuned one has is said.

    Args:
        before, after: the names of the outputs of the two models.
        tuned: the classes that the fine-tuning had, all of them among `after`.

    Raises: BadInput if no class has one name in both, or if two are alike but for what the eye does not see, or if a
        class that only the fine-tuned model has is none that it was tuned on.
    """
    new = [name for name in after if name not in set(before)]
    shared = tuple(name for name in before if name in set(after) and name in set(tuned))
    if len(new) == len(after) or alike(new, before):
        what = f"{len(new)} of the {len(after)} classes of `after` are none of the {len(before)} of `before`"
        raise BadInput(
            f"{what}: {few(new)}.\n  `before` has: {few(before)}.{meant(new, before)}",
            Argument("after_classes", "name the outputs of both as the same classes are called, in order"),
            Argument("before_classes"),
        )
    if unknown := [name for name in new if name not in set(tuned)]:
        gone = [name for name in before if name not in set(after)]
        raise BadInput(
            f"{len(unknown)} classes that only `after` has are not among the seen ones, so that no model knows them: "
            f"{few(unknown)}.\n  Only `before` has: {few(gone) or 'none'}.{meant(unknown, gone)}",
            Argument("after_classes", "if they are the same, name the outputs as `before` does"),
            Argument("seen", "count them among the seen classes"),
        )
    if not shared:
        raise BadInput(
            "the fine-tuning had no class that `before` has, so nothing tells how the scales of their heads compare.",
            Argument("seen", "name the classes that the fine-tuning had"),
        )
    classes = (*before, *new)
    return Union(classes, tuple(name in set(tuned) for name in classes), shared)


def stitched(
    before: Classifier, after: Classifier, union: Union, *, alpha: float, scale: float = 1.0, offset: float = 0.0
) -> Classifier:
    """One network over the union, of the architecture of `before`: its backbone is mixed, the rows of its head are not.

        θ = (1 - α) θ₀ + α θ₁;    row of a tuned class: scale · (w₁, b₁),    of an absent one: (w₀, b₀ + offset)

    A fresh head has no common start with the pretrained rows, so a mean of two rows means nothing.

    Args:
        alpha: 0 is the pretrained backbone, 1 the fine-tuned one.
        scale: above 0; what brings the fine-tuned rows to the scale of the pretrained ones.
        offset: for absent classes. Where the network goes on after its head, it acts before that.

    Raises: BadInput if the two differ by more than their heads.
    Source: Reclaim.
    """
    both = both_heads(before, after, alpha)
    layer, size = both.last_layer, before.num_outputs
    start = {name: row for row, name in enumerate(before.classes)}
    end = {name: size + row for row, name in enumerate(after.classes)}
    rows = [end[name] if own else start[name] for name, own in zip(union.classes, union.tuned, strict=True)]
    index, own = torch.tensor(rows), torch.tensor(union.tuned).to(layer.weight.device)
    factor = torch.where(own, scale, 1.0).to(layer.weight)
    weight = layer.weight.detach()[index.to(layer.weight.device)]
    bias = None if layer.bias is None else layer.bias.detach()[index.to(layer.weight.device)] * factor
    if offset:
        bias = (weight.new_zeros(len(rows)) if bias is None else bias) + offset * ~own
    made = with_rows(both, factor.view(-1, *[1] * (weight.ndim - 1)) * weight, bias)
    return replace(made, classes=union.classes, seen=union.tuned_classes, adapter=None)


def both_heads(before: Classifier, after: Classifier, alpha: float) -> Classifier:
    """The mixed backbone with the rows of both heads, first those of `before`: one pass answers for either.

    Its classes are the names with BEFORE and AFTER in front.

    Raises: BadInput if the two differ by more than their heads.
    """
    theta = interpolation(*_backbones(before, after), alpha=alpha)
    ours, theirs = before.last_layer, after.last_layer
    weight = torch.cat([ours.weight.to(theirs.weight.device), theirs.weight.view(-1, *ours.weight.shape[1:])])
    made = with_rows(before, weight.detach(), _biases(ours, theirs))
    made.module.to(theirs.weight.device)
    made.module.load_state_dict(theta, strict=False)
    names = (*(BEFORE + name for name in before.classes), *(AFTER + name for name in after.classes))
    return replace(made, classes=names, namings=(), seen=None)


def _biases(ours: nn.Linear | nn.Conv2d, theirs: nn.Linear | nn.Conv2d) -> Tensor | None:
    if ours.bias is None and theirs.bias is None:
        return None
    kind = theirs.weight
    own = (kind.new_zeros(len(one.weight)) if one.bias is None else one.bias.detach() for one in (ours, theirs))
    return torch.cat([bias.to(kind) for bias in own])


@torch.no_grad()
def with_rows(model: Classifier, weight: Tensor, bias: Tensor | None) -> Classifier:
    """A copy whose head has other rows, as many as `weight` [R, D, …] has; its classes are no longer known."""
    made = replace(model.copy(), classes=(), namings=())
    layer = made.last_layer
    layer.weight = nn.Parameter(weight.clone())
    layer.bias = None if bias is None else nn.Parameter(bias.clone())
    if isinstance(layer, nn.Linear):
        layer.out_features = len(weight)
    else:
        layer.out_channels = len(weight)
    return made


def _backbones(before: Classifier, after: Classifier) -> tuple[Weights, Weights]:
    """The weights of both without those of their heads.

    Raises: BadInput if they are not of one architecture.
    """
    both = []
    for model in (before, after):
        if f"{model.head}.weight" not in model.weights:
            raise BadInput(
                f"the head {model.head!r} of {model.name!r} is no plain linear layer (nor 1x1 convolution): its rows "
                f"are made of other parameters, so they cannot be joined.\n  {INSTEAD}."
            )
        both.append({name: t for name, t in model.weights.items() if not name.startswith(f"{model.head}.")})
    first, last = both
    odd = [name for name in {**first, **last} if name not in first or name not in last]
    odd = odd or [name for name in first if first[name].shape != last[name].shape]
    if odd or before.num_features != after.num_features:
        raise BadInput(
            "the two models differ by more than the rows of one linear layer (or 1x1 convolution) at their end.\n"
            f"  The head of `before` is {before.head!r} ({before.num_features} features), that of `after` is "
            f"{after.head!r} ({after.num_features} features); beside the heads differ: {few(odd) or 'none'}.\n"
            f"  {INSTEAD}."
        )
    return first, last


@torch.no_grad()
def check_heads(before: Classifier, after: Classifier, x: Inputs) -> None:
    """Raise unless the rows of both heads stand alone: each answers in the joined network as it did, and can be scaled.

    Args:
        x: inputs [B, …], where a row or two are enough.

    Raises: BadInput, with the head's name, where the answers come from more than these rows.
    """
    size = before.num_outputs
    for model, alpha, columns in ((before, 0.0, slice(0, size)), (after, 1.0, slice(size, None))):
        try:
            wide = both_heads(before, after, alpha)
            own, found = _logits(model, x), _logits(wide, x)[:, columns]
            layer = wide.last_layer
            bias = None if layer.bias is None else 2 * layer.bias
            doubled = _logits(with_rows(wide, 2 * layer.weight, bias), x)[:, columns]
        except BadInput:
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            raise _no_rows(model, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
        most = CLOSE * float(own.abs().max().clamp_min(1e-6))
        if own.shape != found.shape or float((own - found).abs().max()) > most:
            raise _no_rows(model, "beside the rows of another head it answers other logits")
        if float((2 * own - doubled).abs().max()) > 2 * most:
            raise _no_rows(model, "twice the rows do not give twice the logits")


def _logits(model: Classifier, x: Inputs) -> Tensor:
    with evaluating(model.module) as module:
        return logits_of(module, moved(x, device_of(module))).float().cpu()


def _no_rows(model: Classifier, why: str) -> BadInput:
    return BadInput(
        f"the logits of {model.name!r} are not made by the rows of its layer {model.head!r} alone: {why}. So its head "
        f"cannot be joined with another.\n  {INSTEAD}.",
        Argument("head", "or name the layer that is its head"),
    )
