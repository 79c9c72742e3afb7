"""Labels to classes by a file: names join, positions never."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from reclaim.core.checks import check_classes
from reclaim.core.errors import BadInput, few, meant, within
from reclaim.core.kinds import kind_of_file
from reclaim.core.records import read_json, typed
from reclaim.core.tables import open_table
from reclaim.data.records import Data
from reclaim.data.report import counts_of

__all__ = ["label_map_in", "with_label_map"]

_HEADER = ("label", "class"), ("labels", "classes"), ("id", "name"), ("from", "to"), ("wnid", "name"), ("wnid", "class")


def label_map_in(path: Path) -> dict[str, str]:
    """The class of each label: of a JSON object, or of a table of two columns, label and class, with or without a first
    line that says so.

    Raises: BadInput for something else, or a label that is given two classes.
    """
    if kind_of_file(path) in ("json lines", "json"):
        found: dict[str, str] = typed(read_json(path), dict[str, str], path)
        return found
    table = open_table(path, "text", header=False)
    if len(table.columns) != 2:
        raise BadInput(f"{path} has {len(table.columns)} columns; it takes two, the label and its class.")
    labels, classes = (table.column(name).tolist() for name in table.columns)
    pairs = list(zip(map(str.strip, labels), map(str.strip, classes), strict=True))
    if pairs and (pairs[0][0].casefold(), pairs[0][1].casefold()) in _HEADER:
        pairs = pairs[1:]
    made: dict[str, str] = {}
    for label, name in pairs:
        if made.setdefault(label, name) != name:
            raise BadInput(f"{path} gives the label {label!r} two classes: {made[label]!r} and {name!r}.")
    return made


def with_label_map(data: Data, path: Path) -> Data:
    """The data with their classes renamed as a file says; labels of one class become one.

    Raises: BadInput, with the closest of the file's, for labels that it does not name.
    """
    names = label_map_in(path)
    if missing := [name for name in data.classes if name not in names]:
        raise BadInput(
            f"{path} names no class for {len(missing)} of the {len(data.classes)} labels of {data.source}: "
            f"{few(map(repr, missing))}.{meant(missing, names)}"
        )
    with within(path):
        classes = check_classes(tuple(dict.fromkeys(names[name] for name in data.classes)))
    place = {name: index for index, name in enumerate(classes)}
    where = torch.tensor([place[names[name]] for name in data.classes], dtype=torch.int64)
    seen = torch.zeros(len(classes), dtype=torch.bool)
    seen[where[data.seen]] = True
    splits = {name: replace(split, labels=where[split.labels]) for name, split in data.splits.items()}
    rows = counts_of({name: split.labels for name, split in splits.items()}, classes)
    report = data.report and replace(data.report, rows=rows)
    return replace(data, classes=classes, splits=splits, seen=seen, report=report)
