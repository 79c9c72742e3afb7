"""A program's own networks and loader as the classifiers and the data that a repair works on."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from torch import Tensor, nn

from reclaim.core.errors import Argument, BadInput, BadKind, few
from reclaim.core.inference import Inference
from reclaim.data.given import Given, GivenExamples, examples_of, seen_names
from reclaim.data.records import Data
from reclaim.models.adapter_pairs import taken_apart
from reclaim.models.adapters import is_adapted
from reclaim.models.classifier import Classifier
from reclaim.models.tracing import trace_head
from reclaim.models.union import heads_differ
from reclaim.repairs.heads import names_of_outputs
from reclaim.repairs.rows import MoreEvidence

__all__ = ["AnyData", "Names", "Network", "Opened", "Seen", "opened"]

log = logging.getLogger(__name__)

Network: TypeAlias = Classifier | nn.Module
AnyData: TypeAlias = Data | Given | Tensor
Seen: TypeAlias = Iterable[int | str] | None


@dataclass(frozen=True)
class Names:
    """What was said of names.

    Attributes:
        classes: of the data; of both models' outputs too, where they are as many.
        before, after: of the outputs of either model, in order.
    """

    classes: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opened:
    """What a repair works on, whatever form it was given in.

    Attributes:
        before, after: the pretrained and the fine-tuned classifier.
        data: rows of the target domain.
        evidence: more data over the same classes.
        inference: how networks are run.
    """

    before: Classifier
    after: Classifier
    data: Data
    evidence: MoreEvidence[Data]
    inference: Inference


def opened(
    before: Network,
    after: Network | AnyData,
    data: AnyData | None,
    evidence: MoreEvidence[AnyData],
    *,
    seen: Seen,
    names: Names,
    inference: Inference,
    initial: Path | None = None,
) -> Opened:
    """Classifiers and data from what was given: two classifiers with `Data`, or two modules with a loader or lists.

    The head of a module is traced on the first example. Batch size and workers are the loader's, where `inference` does
    not say them. A module that peft has wrapped is a pair by itself, or with its base the fine-tuned one of a pair.

    Args:
        seen: the classes that the fine-tuning had, as names or as indices; needed with modules of the same classes.
        names: with modules, of their outputs; by default those of the loader's data set where it names as many, else
            their indices.
        initial: the folder of an adapter as it was before training, where that changed its base.

    Raises: BadInput if names are missing, or more or fewer than outputs; BadKind for a mixture of the two forms.
    """
    if isinstance(before, Classifier) and isinstance(after, Classifier) and isinstance(data, Data):
        named = data if seen is None else data.with_seen(seen_names(seen, data.classes))
        pair = (names_of_outputs(before, names.before, "before"), names_of_outputs(after, names.after, "after"))
        return Opened(*pair, named, evidence.map(_data), inference)
    alone = data is None and is_adapted(before)
    rows, end = (after, before) if alone else (data, after)
    if not isinstance(before, nn.Module) or not isinstance(end, nn.Module) or isinstance(rows, Data | Network | None):
        kinds = ", ".join(type(one).__name__ for one in (before, after, *([] if data is None else [data])))
        raise BadKind(f"a repair takes two Classifiers and a Data, or two modules and a loader; given: {kinds}.")
    examples = examples_of(rows)
    first, last = _classifiers(before, end, examples, initial)
    first, last, columns = named_modules(first, last, names, examples.classes, seen)
    shown = last.classes if seen is None and heads_differ(first, last) else seen_names(seen, columns)
    shown = tuple(name for name in shown if name in set(columns))

    def more(given: AnyData | None, labelled: bool) -> Data | None:
        if isinstance(given, Data):
            raise BadKind("beside two modules, more evidence is a loader, or inputs and labels; given: Data.")
        return None if given is None else examples_of(given, labelled=labelled).data(columns, shown)

    return Opened(
        before=first,
        after=last,
        data=examples.data(columns, shown),
        evidence=MoreEvidence(
            more(evidence.unlabelled, False), more(evidence.source, True), more(evidence.labelled, True)
        ),
        inference=_as_loaded(inference, examples),
    )


def _classifiers(
    before: nn.Module, after: nn.Module, examples: GivenExamples, initial: Path | None
) -> tuple[Classifier, Classifier]:
    """Both modules as classifiers, with their heads traced; an adapter is merged, and kept beside the weights."""
    if not len(examples.labels):
        raise BadInput("the data have no rows.")
    example = examples.read(0)
    x = examples.batched.collate([example, example])  # one row would be lost where a network squeezes its answer
    make, adapter = examples.batched, None
    if is_adapted(after):
        alone = before is after or before is after.get_base_model()  # type: ignore[operator]
        before, after, adapter = taken_apart(after, x, initial=initial, base=None if alone else before)
    elif is_adapted(before):
        raise BadKind("`before` is wrapped by peft, and `after` is not: give the networks the other way round.")
    first, last = (Classifier(m, trace_head(m, x), preprocess=make, name=type(m).__name__) for m in (before, after))
    return first, replace(last, adapter=adapter)


def named_modules(
    before: Classifier, after: Classifier, names: Names, of_data: tuple[str, ...], seen: Seen
) -> tuple[Classifier, Classifier, tuple[str, ...]]:
    """Two modules with names for their outputs, and the classes that the labels of the data count.

    Raises: BadInput if there are no names, or more or fewer than outputs.
    """
    given, sizes = names.classes or of_data, (before.num_outputs, after.num_outputs)
    if not names.before and not names.after and sizes[0] == sizes[1]:
        if names.classes and len(given) != sizes[1]:
            raise BadInput(
                f"{len(given)} class names were given, and the networks answer {sizes[1]} classes.",
                Argument("classes", "name every output, in order"),
            )
        both = given if len(given) == sizes[1] else tuple(str(index) for index in range(sizes[1]))
        return replace(before, classes=both), replace(after, classes=both), both
    ours = names.before or (given if len(given) == sizes[0] else ())
    theirs = names.after or (given if len(given) == sizes[1] else ())
    if not ours and (given or theirs):
        raise _unnamed("before", sizes, given)
    ours = ours or tuple(str(index) for index in range(sizes[0]))
    before = names_of_outputs(before, ours, "before")
    after = names_of_outputs(after, theirs or _by_seen(seen, ours, sizes, given), "after")
    return before, after, given or (*ours, *(name for name in after.classes if name not in set(ours)))


def _by_seen(seen: Seen, ours: tuple[str, ...], sizes: tuple[int, int], given: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the fine-tuned module's outputs: it is guessed that they are the seen classes in order, and said."""
    shown = () if seen is None else seen_names(seen, ours)
    order = tuple(name for name in ours if name in set(shown))
    if len(order) != sizes[1] or (order != shown and not isinstance(seen, set | frozenset)):
        raise _unnamed("after", sizes, given)
    log.warning(
        "the outputs of `after` have no names: it is guessed that they are the %d seen classes in order, %s; name them "
        "with the argument `after_classes`.",
        len(order),
        few(order),
    )
    return order


def _unnamed(which: str, sizes: tuple[int, int], given: tuple[str, ...]) -> BadInput:
    what = f"the data name {len(given)} classes" if given else "the data name none"
    return BadInput(
        f"the two networks answer {sizes[0]} and {sizes[1]} classes, and heads are joined by the names of their "
        f"outputs; {what}.",
        Argument(f"{which}_classes", f"name the outputs of `{which}`, in order"),
    )


def _as_loaded(inference: Inference, examples: GivenExamples) -> Inference:
    workers = examples.workers if inference.workers is None else inference.workers
    return replace(inference, workers=workers, batch_size=inference.batch_size or examples.batch_size)


def _data(given: AnyData) -> Data:
    if isinstance(given, Data):
        return given
    raise BadKind(f"beside two Classifiers, more evidence is a Data; given: {type(given).__name__}.")
