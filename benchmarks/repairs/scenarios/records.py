"""Scenarios: a pretrained network, a target domain, the classes that are seen, and how it is fine-tuned.

A family is one file's worth of them: `make` gives network and data, `scenarios` are the runs. The families form a
design set, on which methods may be developed, and a confirmation set, which is looked at once, at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget

__all__ = ["Family", "Recipe", "Scenario", "World", "from_data_folder"]

BATCH = 32


@dataclass(frozen=True)
class Recipe:
    """How the pretrained network is fine-tuned.

    Attributes:
        frozen: whether batch norms keep the pretrained running statistics, while training and after.
    """

    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    epochs: int
    frozen: bool = False

    def __str__(self) -> str:
        return f"{self.optimizer}{self.learning_rate:g}-{self.epochs}ep" + ("-frozenbn" if self.frozen else "")

    def budget(self, seed: int) -> Budget:
        """What `fine_tune` is given."""
        return Budget(self.epochs, self.learning_rate, BATCH, optimizer=self.optimizer, seed=seed, device="cpu")


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        share: per cent of the classes that are seen.
        split: seed of which ones they are.
        shift: which target domain, in families with several.
        seed: of the division of the rows, the pretraining where there is one, and the fine-tuning.
    """

    family: str
    share: int
    split: int
    recipe: Recipe
    shift: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        """Readable, and the name of its file."""
        where = f"{self.family}-{self.shift}" if self.shift else self.family
        return f"{where}_seen{self.share}_split{self.split}_{self.recipe}_seed{self.seed}"


@dataclass(frozen=True)
class World:
    """What a scenario starts from.

    Attributes:
        before: the pretrained network.
        data: the target domain's splits "train", "held", "unlabelled" and "test", each with rows of all classes, and
            "source", rows of the pretraining domain, where there are any.
    """

    before: Classifier
    data: Data


@dataclass(frozen=True)
class Family:
    """Scenarios over one world.

    Attributes:
        needs: files in the folder RECLAIM_DATA.
    """

    name: str
    group: Literal["design", "confirmation"]
    make: Callable[[Scenario], World]
    scenarios: tuple[Scenario, ...]
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Why it cannot run; empty if it can."""
        absent = [name for name in self.needs if not from_data_folder(name).is_file()]
        return f"needs {', '.join(absent)} in the folder RECLAIM_DATA" if absent else ""


def from_data_folder(name: str) -> Path:
    """A file of the real data."""
    return Path(os.environ.get("RECLAIM_DATA", "../shared/data")) / name
