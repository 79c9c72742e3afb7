"""What users want, from what they write: a small encoder trained on clean texts, and hastily typed ones to adapt to."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from benchmarks.repairs.scenarios.dividing import divided, plan, split_of
from benchmarks.repairs.scenarios.records import Family, Recipe, Scenario, World, from_data_folder
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune

__all__ = ["FAMILIES"]

CLINC, BANKING = "text/clinc150_full.json", "text/banking77.json"
BUCKETS, LENGTH, WIDTH = 2**14, 160, 64
NEIGHBOURS = {
    key: row[i - 1 : i] + row[i + 1 : i + 2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for i, key in enumerate(row)
}
SHORT = {
    "you": "u", "your": "ur", "are": "r", "please": "pls", "to": "2", "for": "4", "what": "wat", "because": "cuz",
    "be": "b", "why": "y", "thanks": "thx", "and": "n", "with": "w", "have": "hv", "from": "frm", "my": "mi",
    "how": "hw", "account": "acct", "tell": "tel", "about": "abt", "before": "b4", "tomorrow": "tmrw", "the": "da",
}  # fmt: skip


class Encoder(nn.Module):
    """A mean of embedded n-grams, one hidden layer. Inputs [B, L] are the n-grams' numbers; 0 is none."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(BUCKETS, WIDTH, mode="mean", padding_idx=0)
        self.hidden = nn.Linear(WIDTH, 128)
        self.head = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(relu(self.hidden(self.bag(x.long()))))


def ngrams(text: str) -> Iterator[str]:
    """Words, pairs of words, and three and four characters in a row."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    yield from words
    yield from (" ".join(pair) for pair in pairwise(words))
    line = f" {' '.join(words)} "
    for size in (3, 4):
        yield from (line[i : i + size] for i in range(len(line) - size + 1))


def numbers(text: str) -> np.ndarray:
    """The n-grams' numbers, [L]; the first `LENGTH` of them."""
    found = [zlib.crc32(gram.encode()) % (BUCKETS - 1) + 1 for gram in ngrams(text)][:LENGTH]
    return np.array(found + [0] * (LENGTH - len(found)), dtype=np.float32)


def hasty(text: str, strength: float, seed: int) -> str:
    """The text as typed in a hurry: words left out or shortened, letters swapped, lost, doubled or mistyped."""
    chance = random.Random(f"{seed} {text}")
    words = [word for word in text.lower().split() if chance.random() > 0.6 * strength] or text.lower().split()
    return " ".join(_hasty_word(word, strength, chance) for word in words)


def _hasty_word(word: str, strength: float, chance: random.Random) -> str:
    if chance.random() < 2 * strength:
        word = SHORT.get(word, word)
    if len(word) > 5 and chance.random() < strength:
        word = word[0] + re.sub("[aeiou]", "", word[1:])
    letters = list(word)
    for i in range(len(letters)):
        if chance.random() > 0.35 * strength:
            continue
        match chance.randrange(4):
            case 0 if i:
                letters[i - 1], letters[i] = letters[i], letters[i - 1]
            case 1:
                letters[i] = ""
            case 2:
                letters[i] *= 2
            case _:
                letters[i] = chance.choice(NEIGHBOURS.get(letters[i], letters[i]) or " ")
    return "".join(letters)


def rows_of(pairs: Sequence[tuple[str, str]], classes: Sequence[str], strength: float = 0, seed: int = 0) -> Split:
    """Texts with intents, clean or hasty."""
    where = {name: index for index, name in enumerate(classes)}
    x = np.stack([numbers(hasty(text, strength, seed) if strength else text) for text, _ in pairs])
    return split_of(x, torch.tensor([where[name] for _, name in pairs]))


def parted(pairs: Sequence[tuple[str, str]], seed: int, **sizes: int) -> dict[str, list[tuple[str, str]]]:
    """Random parts of the pairs."""
    index = divided(split_of(np.arange(len(pairs)), torch.zeros(len(pairs), dtype=torch.int64)), seed, **sizes)
    return {name: [pairs[int(rows.read(i))] for i in range(len(rows))] for name, rows in index.items()}


@cache
def _world(file: str, seed: int, strength: float, pretrain: int, train: int, held: int, unlabelled: int) -> World:
    """An encoder trained on a part of the clean training texts, and hasty ones made of the rest and of the test."""
    known, tests = _texts(file)
    classes = tuple(sorted({name for _, name in known}))
    parts = parted(known, seed, pretrain=pretrain, source=500, train=train, held=held)
    parts |= parted(tests, seed, unlabelled=unlabelled, test=min(4000, len(tests) - unlabelled))
    splits = {
        name: rows_of(pairs, classes, 0 if name in ("pretrain", "source") else strength, seed)
        for name, pairs in parts.items()
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Encoder(len(classes))
    everything = torch.ones(len(classes), dtype=torch.bool)
    start = Classifier(module, "head", classes, name="encoder")
    budget = Budget(8, 5e-3, 64, 1e-4, "adamw", seed=seed, device="cpu")
    before = fine_tune(start, Data(classes, {"train": splits.pop("pretrain")}, everything), budget)
    return World(before, Data(classes, splits, everything))


@cache
def _texts(file: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Training and test texts with their intents."""
    whole = json.loads(from_data_folder(file).read_text(encoding="utf-8"))
    parts = whole.get("data", whole)
    train, test = parts["train"], parts["test"] + parts.get("val", [])
    return [(text, intent) for text, intent in train], [(text, intent) for text, intent in test]


def clinc(scenario: Scenario) -> World:
    """150 intents of an assistant's users."""
    return _world(CLINC, scenario.seed, 0.25, pretrain=7000, train=3000, held=3500, unlabelled=2000)


def banking(scenario: Scenario) -> World:
    """77 intents of a bank's customers."""
    return _world(BANKING, scenario.seed, 0.25, pretrain=5000, train=1500, held=2800, unlabelled=1000)


RECIPES = (Recipe("adamw", 1e-3, 15), Recipe("sgd", 0.02, 15), Recipe("adamw", 5e-3, 10), Recipe("sgd", 0.2, 20))
FAMILIES = (
    Family("clinc150", "design", clinc, plan("clinc150", RECIPES, 12), (CLINC,)),
    Family("banking77", "confirmation", banking, plan("banking77", RECIPES, 12), (BANKING,)),
)
