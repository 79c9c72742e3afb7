"""Ways of choosing the offset from the data one has: ``(evidence, *, own numbers) -> Selection``.

Each file exports one such function. It takes what it needs with ``evidence.need("before", by="its-name")``, reads
nothing else, and is pure. Rows of absent classes reach a selector only as `labelled` or `source`, that is when the
user gave them for this purpose.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import torch

from reclaim.calibration.same_rows import check_same_rows
from reclaim.core.arrays import check_one_place
from reclaim.core.checks import check_groups
from reclaim.core.errors import Argument, BadInput, few, meant
from reclaim.core.frozen import store
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["Evidence", "Selection"]

log = logging.getLogger(__name__)

WHAT = {
    "seen": "labelled held-out rows of seen classes",
    "before": "the pretrained model's answers on the same rows",
    "unlabelled": "rows of the target domain, without labels",
    "source": "labelled rows of all classes from the pretraining domain",
    "labelled": "labelled rows of all classes from the target domain",
}


@dataclass(frozen=True)
class Evidence:
    """What a selector may look at; None for what the user does not have.

    All snapshots are about the same classes; their columns are brought into the order of the first one's.

    Attributes:
        seen: answers of the model to repair on held-out rows. Rows of absent classes are dropped at once, unread. Which
            rows belong together is what any snapshot of the same rows says.
        before: the pretrained model's answers on the same rows.
        reference: answers of the model whose seen accuracy must be kept, on the same rows; None: the one to repair.
        unlabelled: answers of the model to repair on target rows; labels are dropped at once.
        source: its answers on labelled rows of all classes from the pretraining domain.
        labelled: its answers on labelled rows of all classes from the target domain.
        least: the least offset that may be chosen. 0 is the model to repair as it is; where two heads were joined the
            level of either means nothing, and it is -∞.
    """

    seen: Snapshot | None = None
    before: Snapshot | None = None
    reference: Snapshot | None = None
    unlabelled: Snapshot | None = None
    source: Snapshot | None = None
    labelled: Snapshot | None = None
    least: float = 0.0

    def __post_init__(self) -> None:
        given = self.given()
        if not given:
            raise BadInput(
                "no evidence was given to choose an offset from; the least is held-out rows of seen classes."
            )
        first = next(iter(given.values()))
        check_one_place({f"{name!r}": snapshot.logits for name, snapshot in given.items()})
        check_groups(first.seen)
        for name, snapshot in given.items():
            if set(snapshot.classes) != set(first.classes):
                odd = set(snapshot.classes) ^ set(first.classes)
                raise BadInput(
                    f"the evidence {name!r} is about other classes than the rest: {few(sorted(odd))}."
                    f"{meant(set(snapshot.classes) - set(first.classes), first.classes)}"
                )
            store(self, **{name: snapshot.reordered(first.classes)})
            if not torch.equal(self.given()[name].seen, first.seen):
                raise BadInput(f"the evidence {name!r} is about other classes, or other seen ones, than the rest.")
        self._say_if_of_others()
        if self.seen is not None:
            seen = self.seen
            kinds = {"before": self.before, "reference": self.reference}
            others = {name: _same_rows(seen, rows, name) for name, rows in kinds.items() if rows is not None}
            for other in others.values():
                seen = seen.with_groups_of(other)
            for name, other in others.items():
                store(self, **{name: other.with_groups_of(seen).seen_rows()})
            store(self, seen=seen.seen_rows())
        if self.unlabelled is not None:
            store(self, unlabelled=self.unlabelled.unlabelled())

    def _say_if_of_others(self) -> None:
        """Say in a line which evidence another model than the one to repair has answered, as far as both are known."""
        if self.seen is None or not self.seen.model_identity:
            return
        kinds = {"unlabelled": self.unlabelled, "source": self.source, "labelled": self.labelled}
        known = {name: rows.model_identity for name, rows in kinds.items() if rows is not None and rows.model_identity}
        if odd := [name for name, identity in known.items() if identity != self.seen.model_identity]:
            log.warning("the evidence %s is answered by another model than the rows to repair.", few(odd))

    def given(self) -> dict[str, Snapshot]:
        """The evidence that there is, by name."""
        return {name: rows for name, rows in vars(self).items() if name in WHAT and isinstance(rows, Snapshot)}

    def need(self, name: str, by: str) -> Snapshot:
        """The evidence `name`, or the error that says what the selector `by` needs."""
        given = self.given()
        if name not in given or not len(given[name]):
            raise BadInput(
                f"the selector {by!r} needs {WHAT[name]}, and none were given.\n"
                f"  Given: {', '.join(f'{have} ({len(rows)} rows)' for have, rows in given.items())}.",
                *([] if name == "seen" else [Argument(name, "give them")]),
            )
        return given[name]


@dataclass(frozen=True)
class Selection:
    """A chosen offset.

    Attributes:
        offset: the constant to add to every absent logit, in logit units.
        reason: why this one, in a sentence.
        evidence: rows read, by kind of evidence.
        guarantee: what is certain of it, or None.
        details: further numbers worth keeping.
    """

    offset: float
    reason: str
    evidence: dict[str, int]
    guarantee: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


def _same_rows(rows: Snapshot, other: Snapshot, name: str) -> Snapshot:
    check_same_rows(other, rows, f"the evidence {name!r} and the snapshot to repair")
    return other
