"""Whether two snapshots are of the same rows: rows have no names, so all that is known of them must agree."""

from __future__ import annotations

import logging

import torch

from reclaim.core.errors import BadInput
from reclaim.data.splits import split_called
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["check_same_rows"]

log = logging.getLogger(__name__)

_ADVICE = "Predict both models on the same split, in the same order."


def check_same_rows(ours: Snapshot, theirs: Snapshot, what: str) -> None:
    """Raise unless two snapshots, over the same classes in the same order, may be of the same rows.

    Splits of one size whose rows are sorted by class have the same labels, so the names of the splits must agree too.
    Data of two names may be the same by two paths, which is said.

    Args:
        what: what to call the two, in the plural.

    Raises: BadInput if the number of rows, the labels or the splits differ, as far as both are known.
    """
    labels = (ours.labels, theirs.labels)
    differ = labels[0] is not None and labels[1] is not None and not torch.equal(labels[0], labels[1])
    if len(ours) != len(theirs) or differ:
        raise BadInput(f"{what} hold different rows ({len(ours)} and {len(theirs)}).\n  {_ADVICE}")
    splits = [split_called(each.split) or each.split for each in (ours, theirs)]
    if all(splits) and splits[0] != splits[1]:
        raise BadInput(f"{what} are of different splits ({splits[0]} and {splits[1]}).\n  {_ADVICE}")
    if ours.data and theirs.data and ours.data != theirs.data:
        log.warning(
            "%s are of data with two names, whose rows are taken for the same: %s, %s.", what, ours.data, theirs.data
        )
