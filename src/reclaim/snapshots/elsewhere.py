"""Logits from elsewhere as a snapshot: what their file holds, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reclaim.core.arrays import as_tensor
from reclaim.core.checks import check_features
from reclaim.core.errors import Argument, BadInput, few, within
from reclaim.core.groups import members_of
from reclaim.core.kinds import Kind
from reclaim.core.name_lists import names_in
from reclaim.core.npz import numbers_or_texts, text, texts
from reclaim.snapshots.arrays import Told, read_arrays, say_if_from_one, told_labels, told_seen
from reclaim.snapshots.snapshot import Snapshot, seen_mask

__all__ = ["check_snapshot", "snapshot_of_arrays"]


def snapshot_of_arrays(path: Path, kind: Kind, told: Told, *, raw: bool) -> Snapshot:
    """The snapshot that a file of arrays or a table holds, with what is told of it.

    Args:
        raw: do not look whether it holds logits.

    Raises: BadInput if it holds none, or it is not said which classes were seen.
    """
    arrays = read_arrays(path, kind)
    if "logits" not in arrays:
        check_snapshot(path, arrays)
    told = told.without(labels="labels" in arrays, seen="seen" in arrays, classes="classes" in arrays, path=path)
    with within(path):
        logits = as_tensor(arrays["logits"])
        columns = logits.shape[1] if logits.ndim == 2 else 0
        classes = () if "classes" not in arrays else texts(np.asarray(arrays["classes"]), "classes")
        classes = classes if told.classes is None else tuple(names_in(told.classes))
        names = classes or tuple(map(str, range(columns)))
        groups, group_names = (
            (None, ())
            if "groups" not in arrays
            else members_of(numbers_or_texts(np.asarray(arrays["groups"]), "groups"))
        )
        features = as_tensor(arrays["features"]) if "features" in arrays else None
        if features is not None and features.ndim == 2:
            check_features(features)
        seen, labels = _seen(path, arrays, told, names), arrays.get("labels")
        if told.labels is not None:
            labels = told_labels(told.labels, names, seen)
        elif labels is not None and np.asarray(labels).dtype.kind in "iu":
            labels = say_if_from_one(as_tensor(labels), seen, path)
        return Snapshot(
            logits=logits,
            labels=labels,
            seen=seen,
            features=features,
            classes=classes,
            split="" if "split" not in arrays else text(np.asarray(arrays["split"]), "split"),
            data="" if "data" not in arrays else text(np.asarray(arrays["data"]), "data"),
            groups=groups,
            group_names=group_names if "group_names" not in arrays else texts(arrays["group_names"], "group_names"),
            checked=logits if raw else None,
        )


def _seen(path: Path, arrays: Mapping[str, Any], told: Told, names: tuple[str, ...]) -> Tensor:
    """[C] bool: what the file says, or what is told."""
    if told.all_classes:
        return torch.ones(len(names), dtype=torch.bool)
    if told.seen is not None:
        return told_seen(told.seen, names)
    if "seen" not in arrays:
        raise BadInput(
            f"{path} does not say which classes were seen in fine-tuning.",
            Argument("seen", "say it"),
            Argument("all_classes", "say that it was all of them", True),
        )
    seen = as_tensor(arrays["seen"])
    return seen if seen.dtype == torch.bool else seen_mask(seen, len(names))


def check_snapshot(path: Path, tensors: Mapping[str, object]) -> None:
    """Raise unless tensors hold what a snapshot must."""
    for name in ("logits", "seen"):
        if name not in tensors:
            raise BadInput(
                f"{path} is no snapshot: it has no {name!r} (it has: {few(tensors) or 'nothing'}).\n"
                "  A snapshot holds logits [N, C], labels [N] and seen (bool [C], or class indices); "
                "`reclaim predict` writes one."
            )
