"""One step of the training loop beside a bare torch loop of the same model, batch and loader.

Run: python -m benchmarks.speed.loop [--rounds 15]

The loops read through one kind of loader in this process, with cross-entropy and SGD. They take turns, some steps each;
times are medians over the turns, ratios medians over the rounds. It is processor time on one thread, because what else
runs on a machine disturbs that least; and memory that is freed stays with the process, because which of the loops gives
it back to the system, and asks for it again, is chance. On a terminal our loop draws its progress bar, too.

"Placed" is the bare loop on images that lie as the library lays them, with their channels last, and weights as they
were; our loop lays both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.speed.memory import keep_memory
from reclaim.data.loader import Examples, placed
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, steps

CLASSES = 10


@dataclass(frozen=True)
class Case:
    """A network, the shape of its inputs, and how much a turn is."""

    name: str
    make: Callable[[], nn.Module]
    head: str
    shape: tuple[int, ...]
    batch: int
    turn: int
    most: float


def mlp() -> nn.Module:
    """Two layers."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, CLASSES))


class Block(nn.Module):
    """Two 3x3 convolutions beside a way around them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        around = (nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        self.around = nn.Sequential(*around) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(y + self.around(x))


def resnet18() -> nn.Module:
    """As torchvision's."""
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    wide = (64, 64, 64, 128, 128, 256, 256, 512, 512)
    blocks = [Block(a, b, 1 if a == b else 2) for a, b in pairwise(wide)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


CASES = (
    Case("MLP, 256 units, 64 numbers", mlp, "2", (64,), 64, 60, 1.35),
    Case("ResNet-18, 64 pixels", resnet18, "14", (3, 64, 64), 16, 2, 1.05),
)


def rows(case: Case) -> Data:
    """Noise, in memory."""
    random = np.random.default_rng(0)
    n = 40 * case.batch
    x = random.normal(size=(n, *case.shape)).astype(np.float32)
    train = Split(torch.from_numpy(random.integers(0, CLASSES, n)), x.__getitem__, str)
    return Data(tuple(map(str, range(CLASSES))), {"train": train}, torch.ones(CLASSES, dtype=torch.bool), "noise")


def ours(model: Classifier, data: Data, budget: Budget) -> Iterator[None]:
    """Our loop, step by step."""
    for batch in steps(model, data, budget):
        batch.backward(classification(batch))
        batch.step()
        yield


def bare(model: Classifier, data: Data, budget: Budget, *, place: bool = False) -> Iterator[None]:
    """The same without the library, but for what reads the examples, and lays images if `place`."""
    net = model.module.train()
    optimizer = torch.optim.SGD(
        net.parameters(), budget.learning_rate, momentum=0.9, nesterov=True, weight_decay=budget.weight_decay
    )
    examples = Examples(data.split("train"), model.preprocess)
    while True:
        for x, y in DataLoader(examples, budget.batch_size, shuffle=True, drop_last=True, collate_fn=examples.collate):
            optimizer.zero_grad()
            cross_entropy(net(placed(x, torch.device("cpu")) if place else x), y).backward()
            optimizer.step()
            yield


def milliseconds(loop: Iterator[None], turn: int) -> float:
    """Processor time per step."""
    start = time.process_time()
    for _ in islice(loop, turn):
        pass
    return (time.process_time() - start) / turn * 1e3


def measured(case: Case, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a step of our loop, the bare one and the placed one; and the ratios of ours to the other two."""
    data = rows(case)
    budget = Budget(steps=(rounds + 1) * case.turn, batch_size=case.batch, device="cpu")
    loops = [loop(_classifier(case, data), data, budget) for loop in (ours, bare, partial(bare, place=True))]
    for loop in loops:
        milliseconds(loop, case.turn)  # what is done once
    turns = [[milliseconds(loop, case.turn) for loop in loops] for _ in range(rounds)]
    times = [statistics.median(turn) for turn in zip(*turns, strict=True)]
    return times, [statistics.median(turn[0] / turn[i] for turn in turns) for i in (1, 2)]


def _classifier(case: Case, data: Data) -> Classifier:
    torch.manual_seed(0)
    return Classifier(case.make(), case.head, classes=data.classes)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    print(f"torch {torch.__version__}, {given.rounds} rounds\n")
    print("| network | batch | ours, ms | bare, ms | placed, ms | ours / bare | at most | ours / placed |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        (mine, plain, laid), (ratio, same) = measured(case, given.rounds)
        print(
            f"| {case.name} | {case.batch} | {mine:.3f} | {plain:.3f} | {laid:.3f} | {ratio:.2f} | {case.most:.2f} "
            f"| {same:.2f} |"
        )


if __name__ == "__main__":
    main()
