"""A program's own networks and loader as the classifiers and the data that a repair works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from torch import Tensor, nn

from reclaim.core.errors import Argument, BadInput, BadKind
from reclaim.core.inference import Inference
from reclaim.data.given import Given, GivenExamples, examples_of, seen_names
from reclaim.data.records import Data
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
    after: Network,
    data: AnyData,
    evidence: MoreEvidence[AnyData],
    *,
    seen: Seen,
    classes: Sequence[str],
    inference: Inference,
) -> Opened:
    """Classifiers and data from what was given: two classifiers with `Data`, or two modules with a loader or lists.

    The head of a module is traced on the first example. Batch size and workers are the loader's, where `inference` does
    not say them.

    Args:
        seen: the classes that the fine-tuning had, as names or as indices; needed with modules.
        classes: with modules, the names of their outputs; by default those of the loader's data set where it names as
            many, else their indices.

    Raises: BadInput if two modules answer different numbers of classes; BadKind for a mixture of the two forms.
    """
    if isinstance(before, Classifier) and isinstance(after, Classifier) and isinstance(data, Data):
        named = data if seen is None else data.with_seen(seen_names(seen, data.classes))
        return Opened(before, after, named, evidence.map(_data), inference)
    if not isinstance(before, nn.Module) or not isinstance(after, nn.Module) or isinstance(data, Data):
        kinds = ", ".join(type(one).__name__ for one in (before, after, data))
        raise BadKind(f"a repair takes two Classifiers and a Data, or two modules and a loader; given: {kinds}.")
    examples = examples_of(data)
    if not len(examples.labels):
        raise BadInput("the data have no rows.")
    first, last = (_classifier(module, examples) for module in (before, after))
    if first.num_outputs != last.num_outputs:
        raise BadInput(f"the two networks answer {first.num_outputs} and {last.num_outputs} classes.")
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


def _classifier(module: nn.Module, examples: GivenExamples) -> Classifier:
    first = examples.read(0)
    x = examples.batched.collate([first, first])  # one row would be lost where a network squeezes its answer
    return Classifier(module, trace_head(module, x), preprocess=examples.batched, name=type(module).__name__)


def _as_loaded(inference: Inference, examples: GivenExamples) -> Inference:
    workers = examples.workers if inference.workers is None else inference.workers
    return replace(inference, workers=workers, batch_size=inference.batch_size or examples.batch_size)


def _data(given: AnyData) -> Data:
    if isinstance(given, Data):
        return given
    raise BadKind(f"beside two Classifiers, more evidence is a Data; given: {type(given).__name__}.")
