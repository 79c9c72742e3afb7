"""A published language identifier on a new kind of text: names of emoji."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import relu

from benchmarks.repairs.scenarios.dividing import divided, plan, split_of
from benchmarks.repairs.scenarios.records import Family, Recipe, Scenario, World, from_data_folder
from reclaim.core.npz import load_npz
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier

__all__ = ["FAMILIES"]

WEIGHTS, TEXTS = "weights/cld3_langid_109.safetensors", "text/langid_cldr_emoji_names.npz"
GROUPS = {  # numbers, width of the embedding, and most n-grams of a text
    "bigrams": (1000, 16, 59),
    "quadgrams": (5000, 16, 62),
    "relevant_scripts": (12, 8, 4),
    "text_script": (103, 8, 1),
    "trigrams": (5000, 16, 61),
    "unigrams": (100, 16, 31),
}


class Cld3(nn.Module):
    """Six bags of embedded n-grams, one hidden layer.

    Inputs [B, 2 L] are the numbers of the n-grams, group by group, then their weights, 0 where there is none.

    Source: google/cld3, the Compact Language Detector.
    """

    def __init__(self) -> None:
        super().__init__()
        bags = {name: nn.EmbeddingBag(number, width, mode="sum") for name, (number, width, _) in GROUPS.items()}
        self.embedding = nn.ModuleDict(bags)
        self.hidden = nn.Linear(80, 208)
        self.softmax = nn.Linear(208, 109)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.view(len(x), 2, -1).split([most for _, _, most in GROUPS.values()], dim=2)
        bags = zip(self.embedding.values(), parts, strict=True)
        f = [bag(part[:, 0].long(), per_sample_weights=part[:, 1].contiguous()) for bag, part in bags]
        return self.softmax(relu(self.hidden(torch.cat(f, dim=1))))


def cld3(scenario: Scenario) -> World:
    """109 languages, of which 87 occur; training, held-out and test rows share no emoji."""
    languages, parts = _texts()
    module = Cld3()
    module.load_state_dict(load_file(from_data_folder(WEIGHTS)))
    before = Classifier(module, "softmax", tuple(languages), name="cld3")
    classes = tuple(languages[i] for i in sorted(set(parts[0].labels.tolist())))
    data = Data(tuple(languages), {}, torch.ones(109, dtype=torch.bool))
    splits = divided(parts[0], scenario.seed, train=8000) | divided(parts[1], scenario.seed, held=3500)
    splits |= divided(parts[2], scenario.seed, unlabelled=2000, test=4000)
    return World(before, _only(Data(data.classes, splits, data.seen), classes))


def _only(data: Data, classes: tuple[str, ...]) -> Data:
    """The data over the classes that occur."""
    where = torch.full((len(data.classes),), -1)
    where[[data.classes.index(name) for name in classes]] = torch.arange(len(classes))
    splits = {name: Split(where[rows.labels], rows.read, rows.name) for name, rows in data.splits.items()}
    return Data(classes, splits, torch.ones(len(classes), dtype=torch.bool))


@cache
def _texts() -> tuple[list[str], list[Split]]:
    """The languages, and the rows of the file's three parts."""
    arrays = load_npz(from_data_folder(TEXTS))
    x = np.concatenate([_padded(arrays, name, most) for name, (_, _, most) in GROUPS.items()], axis=2)
    rows = split_of(x.reshape(len(x), -1), torch.from_numpy(arrays["label"].astype(np.int64)))
    return arrays["languages"].tolist(), [rows.rows(torch.from_numpy(arrays["split"] == part)) for part in range(3)]


def _padded(arrays: dict[str, np.ndarray], name: str, most: int) -> np.ndarray:
    """Numbers and weights of one group of n-grams, [N, 2, most]."""
    offset = arrays[f"off_{name}"]
    row = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    column = np.arange(len(row)) - offset[row]
    x = np.zeros((len(offset) - 1, 2, most), dtype=np.float32)
    x[row, 0, column], x[row, 1, column] = arrays[f"id_{name}"], arrays[f"w_{name}"]
    return x


RECIPES = (Recipe("adamw", 1e-3, 10), Recipe("sgd", 0.05, 10), Recipe("sgd", 0.1, 15), Recipe("adamw", 3e-3, 6))
FAMILIES = (Family("cld3-emoji", "design", cld3, plan("cld3-emoji", RECIPES, 12), (WEIGHTS, TEXTS)),)
