"""A program's own networks and loader as the classifiers and the data that a repair works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from torch import Tensor, nn

from reclaim.core.errors import Argument, BadInput, BadKind
from reclaim.core.inference import Inference
from reclaim.data.given import Given, GivenExamples, examples_of, seen_names
from reclaim.data.records import Data
from reclaim.models.adapter_pairs import taken_apart
from reclaim.models.adapters import is_adapted
from reclaim.models.classifier import Classifier
from reclaim.models.tracing import trace_head
from reclaim.repairs.rows import MoreEvidence

__all__ = ["AnyData", "Network", "Opened", "Seen", "opened"]

Network: TypeAlias = Classifier | nn.Module
AnyData: TypeAlias = Data | Given | Tensor
Seen: TypeAlias = Iterable[int | str] | None


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
    classes: Sequence[str],
    inference: Inference,
    initial: Path | None = None,
) -> Opened:
    """Classifiers and data from what was given: two classifiers with `Data`, or two modules with a loader or lists.

    The head of a module is traced on the first example. Batch size and workers are the loader's, where `inference` does
    not say them. A module that peft has wrapped is a pair by itself, or with its base the fine-tuned one of a pair.

    Args:
        seen: the classes that the fine-tuning had, as names or as indices; needed with modules.
        classes: with modules, the names of their outputs; by default those of the loader's data set where it names as
            many, else their indices.
        initial: the folder of an adapter as it was before training, where that changed its base.

    Raises: BadInput if two modules answer different numbers of classes; BadKind for a mixture of the two forms.
    """
    if isinstance(before, Classifier) and isinstance(after, Classifier) and isinstance(data, Data):
        named = data if seen is None else data.with_seen(seen_names(seen, data.classes))
        return Opened(before, after, named, evidence.map(_data), inference)
    alone = data is None and is_adapted(before)
    rows, end = (after, before) if alone else (data, after)
    if not isinstance(before, nn.Module) or not isinstance(end, nn.Module) or isinstance(rows, Data | Network | None):
        kinds = ", ".join(type(one).__name__ for one in (before, after, *([] if data is None else [data])))
        raise BadKind(f"a repair takes two Classifiers and a Data, or two modules and a loader; given: {kinds}.")
    examples = examples_of(rows)
    first, last = _classifiers(before, end, examples, initial)
    names = tuple(classes) or examples.classes
    if len(names) != last.num_outputs:
        if classes:
            raise BadInput(
                f"{len(names)} class names were given, and the networks answer {last.num_outputs} classes.",
                Argument("classes", "name every output, in order"),
            )
        names = tuple(str(index) for index in range(last.num_outputs))
    shown = seen_names(seen, names)

    def more(given: AnyData | None, labelled: bool) -> Data | None:
        if isinstance(given, Data):
            raise BadKind("beside two modules, more evidence is a loader, or inputs and labels; given: Data.")
        return None if given is None else examples_of(given, labelled=labelled).data(names, shown)

    return Opened(
        before=replace(first, classes=names),
        after=replace(last, classes=names),
        data=examples.data(names, shown),
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
    if first.num_outputs != last.num_outputs:
        raise BadInput(f"the two networks answer {first.num_outputs} and {last.num_outputs} classes.")
    return first, replace(last, adapter=adapter)


def _as_loaded(inference: Inference, examples: GivenExamples) -> Inference:
    workers = examples.workers if inference.workers is None else inference.workers
    return replace(inference, workers=workers, batch_size=inference.batch_size or examples.batch_size)


def _data(given: AnyData) -> Data:
    if isinstance(given, Data):
        return given
    raise BadKind(f"beside two Classifiers, more evidence is a Data; given: {type(given).__name__}.")
