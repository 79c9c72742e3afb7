"""What two heads over other classes are called: every output by a name, and the data over the union of both."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch

from reclaim.core.checks import check_classes
from reclaim.core.errors import Argument, BadInput, few
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.union import Union, union_of

__all__ = ["named_heads", "names_of_outputs", "over_union", "tuned_union"]

log = logging.getLogger(__name__)


def named_heads(before: Classifier, after: Classifier, data: Data) -> tuple[Classifier, Classifier]:
    """Both models with names for all of their outputs, of other classes each.

    Where a model has several namings it is the one that has most names of the other model and of the data. Where it has
    none, it is guessed that its outputs are the classes of the data, or the seen ones of these, if these are as many,
    in their order; and said.

    Raises: BadInput where nothing names the outputs.
    """
    after = _named(after, data.classes, data.seen_classes, "after")
    return _named(before, (*after.classes, *data.classes), data.classes, "before"), after


def _named(model: Classifier, others: Sequence[str], guess: tuple[str, ...], which: str) -> Classifier:
    if model.classes:
        return model
    if model.namings:
        return replace(model, classes=max(model.namings, key=lambda naming: len(set(naming) & set(others))))
    if model.num_outputs == len(guess):
        log.warning(
            "the outputs of `%s` have no names: it is guessed that they are the %d %sclasses of the data in their "
            "order, %s; name them with the argument `%s_classes`.",
            which,
            len(guess),
            "seen " if which == "after" else "",
            few(guess),
            which,
        )
        return replace(model, classes=guess)
    raise BadInput(
        f"the two models answer other classes, and heads are joined by the names of their outputs; the "
        f"{model.num_outputs} of `{which}` have none.",
        Argument(f"{which}_classes", "name them, in order"),
    )


def tuned_union(before: Classifier, after: Classifier, data: Data, *, said: bool) -> Union:
    """The union of both models' classes; the fine-tuning had those of `after`, unless something says less.

    Args:
        said: whether it was said which classes are seen. Else what `after` has on record counts; or where it has all
            classes of `before`, so that none would be absent, the training split of the data.

    Raises: BadInput if the names do not fit.
    """
    if said or (after.seen is None and set(before.classes) <= set(after.classes)):
        if strange := [name for name in data.seen_classes if name not in set(after.classes)]:
            raise BadInput(
                f"{len(strange)} of the seen classes are not among those of `after`, which the fine-tuning had: "
                f"{few(strange)}.\n  `after` has: {few(after.classes)}.",
                Argument("seen", "leave out"),
                Argument("after_classes", "name its outputs as the data call them, in order"),
            )
        left_out = set(data.classes) - set(data.seen_classes)
        tuned: Collection[str] = [name for name in after.classes if name not in left_out]
    else:
        tuned = after.classes if after.seen is None else after.seen
    union = union_of(before.classes, after.classes, tuned)
    new = [name for name in union.tuned_classes if name not in set(before.classes)]
    log.warning(
        "the two models answer other classes, joined by name: %d have the fine-tuned model's row of the head and count "
        "as seen, %d of them new; %d have the pretrained model's and are absent.",
        sum(union.tuned),
        len(new),
        len(union.classes) - sum(union.tuned),
    )
    if unnamed := [name for name in new if name not in set(data.classes)]:
        log.warning(
            "%d classes are known to `after` alone, neither to `before` nor to the data: %s.",
            len(unnamed),
            few(unnamed),
        )
    return union


def over_union(data: Data, union: Union) -> Data:
    """The data over their own classes and all tuned ones; over the whole union where no class of these is absent.

    Raises: BadInput for classes that no model has, or where the data have none that was tuned.
    """
    tuned, given, known = set(union.tuned_classes), set(data.classes), set(union.classes)
    if strangers := [name for name in data.classes if name not in known]:
        raise BadInput(
            f"{len(strangers)} of the {len(data.classes)} classes of the data are those of neither model: "
            f"{few(strangers)}.",
            Argument("before_classes", "name the outputs of the models as the data call their classes, in order"),
            Argument("after_classes"),
        )
    if not tuned & given:
        raise BadInput(
            f"the data have no class that the fine-tuning had: these are {few(union.tuned_classes)}, and theirs "
            f"{few(data.classes)}."
        )
    columns = tuple(name for name in union.classes if name in given or name in tuned)
    if set(columns) <= tuned:
        columns = union.classes
    return replace(data.over(columns), seen=torch.tensor([name in tuned for name in columns]))


def names_of_outputs(model: Classifier, names: Sequence[str], which: str) -> Classifier:
    """The model with its outputs named, as given; BadInput if these are more or fewer."""
    if not names:
        return model
    if len(names) != model.num_outputs:
        raise BadInput(
            f"{len(names)} names were given for the {model.num_outputs} outputs of `{which}` ({few(names)}).",
            Argument(f"{which}_classes", "name every output, in order"),
        )
    return replace(model, classes=check_classes(names), namings=())
