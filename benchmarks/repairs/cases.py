"""Cached scenarios as ways of choosing see them: what every mixture answered on every part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.repairs.scenarios.cache import PARTS, Record
from reclaim.repairs.alpha import ALPHAS
from reclaim.repairs.mixtures import kept, mixed
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Steps, steps_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["AFTER", "KINDS", "Answers", "Case", "Mixture", "Recorded", "steps"]

Mixture = tuple[str, float]  # a kind, and alpha
AFTER: Mixture = ("weights", 1.0)
LABELLED = 5  # rows of each class, where labels are given


def gated(first: Tensor, last: Tensor, alpha: float, seen: Tensor) -> Tensor:
    """The group by a mixture of that alpha, the class in it by others: .75 of the fine-tuned one among seen, .5 among
    absent. So the offset between the groups depends on the image."""
    made = torch.empty_like(first)
    groups = mixed(first, last, alpha)
    for group, inside in ((seen, 0.75), (~seen, 0.5)):
        within = mixed(first, last, inside)[:, group].log_softmax(dim=1)
        made[:, group] = within + groups[:, group].logsumexp(dim=1, keepdim=True)
    return made


OF_OUTPUTS: dict[str, Callable[[Tensor, Tensor, float, Tensor], Tensor]] = {
    "outputs": lambda first, last, alpha, seen: mixed(first, last, alpha),
    "gated": gated,
}
KINDS = {"weights": ALPHAS, **dict.fromkeys(OF_OUTPUTS, ALPHAS), "backbone": PARTS, "head": PARTS}


@dataclass(frozen=True, eq=False)
class Answers:
    """What every mixture answered on one part. "backbone" and "head" mix only that, the other is the fine-tuned one's.

    Attributes:
        weights: [W, N, C] of the weights' mixtures.
        parts: "backbone" and "head", [3, N, C], where they are kept.
        labels, seen: as in a snapshot.
    """

    weights: Tensor
    parts: dict[str, Tensor]
    labels: Tensor | None
    seen: Tensor

    def __len__(self) -> int:
        return self.weights.shape[1]

    def __getitem__(self, mixture: Mixture) -> Snapshot:
        kind, alpha = mixture
        if kind in OF_OUTPUTS:
            z = OF_OUTPUTS[kind](self.weights[0].float(), self.weights[-1].float(), alpha, self.seen)
        elif kind == "weights":
            z = self.weights[ALPHAS.index(alpha)].float()
        else:
            z = self.parts[kind][PARTS.index(alpha)].float()
        return Snapshot(z, self.labels, self.seen, checked=z)

    def rows(self, which: Tensor) -> Answers:
        """Some rows only."""
        parts = {kind: z[:, which] for kind, z in self.parts.items()}
        return Answers(self.weights[:, which], parts, None if self.labels is None else self.labels[which], self.seen)

    def unlabelled(self) -> Answers:
        """Without labels."""
        return Answers(self.weights, self.parts, None, self.seen)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Mixtures of one kind, whose answers were recorded; their ends are the two networks.

    Attributes:
        kind: one of `KINDS` that has all alphas.
    """

    kind: str = "weights"

    @kept()
    def answers(self, alpha: float, rows: Answers) -> Snapshot:
        """What the mixture of alpha answered on these rows."""
        return rows[self.kind if 0 < alpha < 1 or self.kind == "gated" else "weights", alpha]


@dataclass(frozen=True, eq=False)
class Case:
    """A scenario.

    Attributes:
        held: held-out rows of seen classes.
        unlabelled: rows of the target domain, without labels.
        unequal: some of these: of every class another share, between all and a fifth.
        labelled: the first of these, five of each class, with labels.
        source: rows of the pretraining domain; None where there are none.
        pseudo: per pseudo split, held-out rows, answered by networks fine-tuned on one half of the seen classes.
        test: the rows that judge.
    """

    held: Answers
    unlabelled: Answers
    unequal: Answers
    labelled: Answers
    source: Answers | None
    pseudo: tuple[Answers, ...]
    test: Answers

    @classmethod
    def of(cls, record: Record, pseudo: Record | None, per_class: int | None = None) -> Case:
        """From the cache; with `per_class`, only so many held-out rows of each class, and no pseudo splits."""
        seen = record["seen"]

        def part(name: str) -> Answers:
            parts = {kind: record[f"{kind}.{name}"] for kind in ("backbone", "head") if name in ("held", "test")}
            return Answers(record[f"mix.{name}"], parts, record[f"labels.{name}"], seen)

        held, free = part("held"), part("unlabelled")
        halves: tuple[Answers, ...] = ()
        if per_class is not None:
            held = held.rows(_first(record["labels.held"], per_class))
        elif pseudo is not None:
            both = zip(pseudo["seen"], pseudo["mix"], strict=True)
            halves = tuple(Answers(z, {}, pseudo["labels"], mask) for mask, z in both)
        return cls(
            held=held,
            unlabelled=free.unlabelled(),
            unequal=free.rows(_unequal(record["labels.unlabelled"])).unlabelled(),
            labelled=free.rows(_first(record["labels.unlabelled"], LABELLED)),
            source=part("source") if "mix.source" in record.arrays else None,
            pseudo=halves,
            test=part("test"),
        )

    @cached_property
    def steps(self) -> dict[Mixture, Steps]:
        """Of the trade-off of every mixture on the rows that judge."""
        return {(kind, alpha): steps(self.test[kind, alpha]) for kind, alphas in KINDS.items() for alpha in alphas}

    @property
    def seen(self) -> Tensor:
        """[C] bool."""
        return self.test.seen


def steps(rows: Snapshot) -> Steps:
    """Of the trade-off of labelled rows."""
    return steps_of(margins(rows.logits, rows.known_labels, rows.seen))


def _first(labels: Tensor, count: int) -> Tensor:
    """Indices of the first so many rows of each class."""
    return torch.cat([(labels == c).nonzero().squeeze(1)[:count] for c in labels.unique()]).sort().values


def _unequal(labels: Tensor) -> Tensor:
    """[N] bool: of each class a share that is 5 to the power of a number between -1 and 0, drawn for it."""
    random = torch.Generator().manual_seed(0)
    shares = 5 ** -torch.rand(int(labels.max()) + 1, generator=random)
    return torch.rand(len(labels), generator=random) < shares[labels]
