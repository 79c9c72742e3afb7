"""Imitate rows of absent classes: let each row's own class go the way that absent classes went."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from reclaim.calibration.evidence import Evidence, Selection
from reclaim.core.arrays import row_blocks, sorted_values
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Best, Steps, best, by_classes, curve_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["estimated", "pseudo_absent"]

_NOISE = (-1.1503, -0.3186, 0.3186, 1.1503)  # the middles of four equally probable parts of the normal distribution


def pseudo_absent(evidence: Evidence) -> Selection:
    """The offset with the best accuracy over all classes, as pseudo-absent rows let it be estimated.

    Before fine-tuning, seen and absent classes are alike. So a seen row, as the pretrained model answers it, stands for
    an absent one; and what fine-tuning did to absent logits can be read off the absent columns of that same row: their
    mean change, weighted by how probable they were, and its spread. The row's own logit is the pretrained one, changed
    like that; its rivals are the fine-tuned model's.

    γ is the best one by that estimate less the best one of the pretrained model, whose true one is near zero.

    Needs: seen, before.
    Raises: BadInput if only one class is seen.
    Source: Reclaim.
    """
    after, before = evidence.need("seen", by="pseudo-absent"), evidence.need("before", by="pseudo-absent")
    known = before.answerable()
    now, then = estimated(before, after), estimated(known, known)
    found, start = _best(now, after.seen), _best(then, after.seen).offset
    return Selection(
        offset=found.offset - start,
        reason=f"with it {found.value:.1%} of all rows are right by estimate, seen ones and stand-ins for absent ones",
        evidence={"seen": len(after), "before": len(before)},
        details={"expected": found.value, "start": start},
    )


def estimated(before: Snapshot, after: Snapshot) -> Steps:
    """The steps of the trade-off of held-out seen rows and of their twins, whose own class is made absent.

    Args:
        before, after: the pretrained model's answers and those of the model to judge, on the same labelled seen rows.
            A row of a class that the pretrained model lacks has no twin.
    """
    if int(after.seen.sum()) - len(before.lacks) < 2:
        raise BadInput("making each row's own class absent needs two seen classes; only one is seen.")
    before, after = before.thinned(), after.thinned()
    m = margins(after.logits, after.known_labels, after.seen)
    alike = replace(after, lacks=before.lacks).answerable()
    before = before.answerable()
    won = [
        _twins(before.logits[block], alike.logits[block], alike.known_labels[block], after.seen)
        for block in row_blocks(alike.logits)
    ]
    return Steps(
        lost=sorted_values(m.margin[m.hit]),
        won=sorted_values(torch.cat(won)),
        num_seen=len(after),
        num_absent=len(_NOISE) * len(alike),
    )


def _twins(then: Tensor, now: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    """Offsets from which on a twin is right, of those twins that some offset puts right."""
    dtype = torch.promote_types(now.dtype, torch.float32)
    absent, own = (~seen).nonzero().squeeze(1), labels[:, None]
    were, are = then.index_select(1, absent).to(dtype), now.index_select(1, absent).to(dtype)
    weight, rival_absent = were.softmax(dim=1), are.amax(dim=1)
    change = are.sub_(were)
    spread, middle = torch.std_mean(change, dim=1, correction=1 if len(absent) > 1 else 0)
    mean = middle + weight.mul_(change.sub_(middle[:, None])).sum(dim=1)  # the difference from the middle rounds less
    middle = (then.gather(1, own).squeeze(1).to(dtype) + mean).double()
    twin = torch.stack([middle + noise * spread.double() for noise in _NOISE])
    rival_seen = now.scatter(1, own, -torch.inf).index_select(1, seen.nonzero().squeeze(1)).amax(dim=1).double()
    return (rival_seen - twin)[twin > rival_absent]


def _best(steps: Steps, seen: Tensor) -> Best:
    return best(by_classes(curve_of(steps), seen))
