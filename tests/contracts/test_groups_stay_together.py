"""Rows of one group are never on two sides of a division, wherever rows are divided."""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reclaim
from reclaim.core.errors import BadInput
from reclaim.core.groups import pieces
from reclaim.core.registry import find, names
from reclaim.data.division import divided
from reclaim.data.records import Data, Split
from reclaim.repairs.choices import Choices
from reclaim.repairs.pseudo_cross_validation import divide_classes
from reclaim.repairs.rows import divide, divide_rows
from reclaim.training.budget import Budget
from tests import toys

ROOT = Path(reclaim.__file__).parent

# where rows are drawn or put in another order, and why no group is parted there
DRAWS = {
    "core/groups.py": "pieces, below",
    "data/division.py": "divided, below",
    "training/recipes/linear_probe.py": "without groups; with them it is divided",
    "repairs/pseudo_cross_validation.py": "divide_classes, below",
    "training/loop.py": "an order of training rows: none is held out",
    "models/batch_norm.py": "a sample for statistics: the rest serves nothing",
    "calibration/fitting/nets.py": "a sample to fit to, before its folds are made by pieces",
    "data/sources/digits.py": "images that stand alone",
    "bridges/sklearn.py": "folds that part a group are refused",
}
DRAWING = {
    "randperm",
    "permutation",
    "permuted",
    "shuffle",
    "random_split",
    "train_test_split",
    "choice",
    "multinomial",
}
DRAWING |= {"KFold", "StratifiedKFold", "ShuffleSplit", "StratifiedShuffleSplit", "array_split"}
DRAWING |= {"check_cv", "StratifiedGroupKFold", "GroupKFold"}

GROUPS = st.lists(st.integers(0, 9), min_size=1, max_size=40).map(torch.tensor)


def test_rows_are_drawn_in_these_places_only() -> None:
    """A new place that draws rows comes onto the list with the reason why it parts no group."""
    found = set()
    for path in ROOT.rglob("*.py"):
        called = [
            node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ]
        if DRAWING & {
            f.attr if isinstance(f, ast.Attribute) else f.id if isinstance(f, ast.Name) else "" for f in called
        }:
            found.add(path.relative_to(ROOT).as_posix())
    assert found == DRAWS.keys()


def apart(groups: Tensor, *parts: Tensor) -> None:
    """No group is in two parts, and no row twice."""
    inside = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, inside)) == len(set().union(*inside))
    rows = torch.cat(parts).tolist() if parts else []
    assert len(rows) == len(set(rows))


@given(GROUPS, st.integers(0, 40), st.integers(0, 99))
def test_a_division_parts_no_group_and_loses_no_row(groups: Tensor, count: int, seed: int) -> None:
    here, there = divided(len(groups), count, seed, groups)
    apart(groups, here, there)
    assert len(here) + len(there) == len(groups)


@given(GROUPS, st.integers(1, 9), st.integers(0, 99), st.none() | st.integers(1, 40))
def test_pieces_part_no_group_and_lose_no_row(groups: Tensor, parts: int, seed: int, most: int | None) -> None:
    made = pieces(len(groups), parts, np.random.default_rng(seed), groups, most=most)
    apart(groups, *made)
    assert sum(map(len, made)) == min(len(groups), most or len(groups)) and len(made) <= parts


def split_of(groups: Tensor, labels: Tensor) -> Split:
    return Split(labels, lambda i: i, str, groups)


def read(split: Split) -> Tensor:
    return torch.tensor([split.read(i) for i in range(len(split))], dtype=torch.int64)


@settings(max_examples=50)
@given(GROUPS, st.floats(0.05, 0.95), st.integers(0, 99))
def test_rows_that_choose_and_rows_that_report_share_no_group(groups: Tensor, share: float, seed: int) -> None:
    rows = split_of(groups, torch.arange(len(groups)) % 5)
    first, rest = divide_rows(rows, toys.SEEN[rows.labels], Choices(held_out=share, seed=seed))
    apart(groups, read(first), read(rest))


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(400, 900))
def test_the_halves_of_held_out_rows_share_no_group(seed: int, largest: int) -> None:
    random = torch.Generator().manual_seed(seed)
    groups = torch.randint(0, largest, (3000,), generator=random)
    labels = torch.randint(0, 5, (3000,), generator=random)
    try:
        made = divide(Data(toys.CLASSES, {"all": split_of(groups, labels)}, toys.SEEN), Choices(seed=seed))
    except BadInput:
        return
    parts = [made.choose, made.certify, made.report] if made.separate_rows else [made.choose, made.report]
    apart(groups, *(read(part.split) for part in parts))


@settings(max_examples=50)
@given(st.integers(0, 99), st.integers(1, 60))
def test_retraining_judges_no_row_of_a_group_it_was_trained_on(seed: int, largest: int) -> None:
    random = torch.Generator().manual_seed(seed)
    groups = torch.randint(0, largest, (200,), generator=random)
    data = Data(toys.CLASSES, {"train": split_of(groups, torch.randint(0, 5, (200,), generator=random))}, toys.SEEN)
    given, judged = divide_classes(data, torch.tensor([0, 3]), random)
    apart(groups, read(given.split("train")), read(judged.split("judged")))


Spied = list[tuple[str, Tensor | None]]


@pytest.fixture
def divisions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spied]:
    """Which divisions are made, and by which groups, in every module that makes some."""
    made: Spied = []
    for family in ("calibrators", "recipes"):
        for name in names(family):
            find(family, name)

    def spied(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append((name, args[3] if len(args) > 3 else kwargs.get("groups")))
            return function(*args, **kwargs)

        return call

    for module in [module for name, module in sys.modules.items() if name.startswith("reclaim.")]:
        for name, function in (("divided", divided), ("pieces", pieces)):
            if vars(module).get(name) is function:
                monkeypatch.setattr(module, name, spied(name, function))
    yield made


def test_every_calibrator_divides_by_the_groups_of_its_rows(divisions: Spied) -> None:
    rows = toys.snapshot(n=240, sunk=0.0).seen_rows()
    grouped = replace(rows, groups=torch.arange(len(rows)) // 4)
    for name in names("calibrators"):
        method = find("calibrators", name)
        if "fit" in vars(method):
            method.fit(grouped)
    assert divisions and all(groups is not None for _, groups in divisions)


def test_every_recipe_divides_by_the_groups_of_its_rows(divisions: Spied) -> None:
    data = toys.data()
    train = data.split("train")
    grouped = replace(data, splits={"train": replace(train, groups=torch.arange(len(train)) // 3)})
    for name in names("recipes"):
        find("recipes", name)(toys.classifier(), grouped, Budget(epochs=1, batch_size=16))
    assert divisions and all(groups is not None for _, groups in divisions)
