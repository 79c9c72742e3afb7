"""Small models and data with known answers. Sizes differ everywhere, so that a swapped axis cannot hide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from reclaim.calibration.evidence import Evidence
from reclaim.data.inputs.arrays import AsTensors
from reclaim.data.inputs.protocol import Augment, Inputs
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.head import find_head
from reclaim.snapshots.snapshot import Snapshot

CLASSES = ("ant", "bee", "cat", "dog", "elk")
SEEN = torch.tensor([True, False, True, True, False])


def logits(n: int = 211, c: int = 7, seed: int = 0, sunk: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N, C] that are mostly right within a group, labels [N] and seen [C], the absent columns sunk."""
    random = torch.Generator().manual_seed(seed)
    seen = torch.arange(c) % 2 == 0
    y = torch.randint(0, c, (n,), generator=random)
    z = torch.randn(n, c, generator=random) + 2.5 * nn.functional.one_hot(y, c)
    return z - sunk * ~seen, y, seen


def snapshot(n: int = 211, c: int = 7, seed: int = 0, sunk: float = 3.0, **more: object) -> Snapshot:
    """The same as a snapshot."""
    z, y, seen = logits(n, c, seed, sunk)
    return Snapshot(z, y, seen, **more)  # type: ignore[arg-type]


def evidence(n: int = 211, c: int = 7, seed: int = 0, sunk: float = 3.0) -> Evidence:
    """Every kind of evidence: held-out, before, unlabelled, source and labelled rows."""
    return Evidence(
        seen=snapshot(n, c, seed, sunk),
        before=snapshot(n, c, seed, sunk=0.0),
        unlabelled=snapshot(n + 10, c, seed + 1, sunk),
        source=snapshot(n + 20, c, seed + 2, sunk),
        labelled=snapshot(n + 30, c, seed + 3, sunk),
    )


class Net(nn.Module):
    """Three numbers in, five classes out, with everything that recipes must take care of."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(3, 11)
        self.norm = nn.BatchNorm1d(11)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(11, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.first(x)))))


class GoesOn(nn.Module):
    """A network that goes on after its head, as SqueezeNet does: a 1x1 convolution, a ReLU, an average."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.head = nn.Conv2d(6, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.head(torch.relu(self.first(x)))).mean(dim=(2, 3))


class Answer(NamedTuple):
    """What `Towers` answers: the logits are neither alone nor first."""

    features: Tensor
    logits: Tensor


class Towers(nn.Module):
    """Two tensors in by name, a record out."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.left = nn.Linear(2, 6)
        self.right = nn.Linear(1, 4)
        self.norm = nn.BatchNorm1d(10)
        self.head = nn.Linear(10, num_classes)

    def forward(self, left: Tensor, right: Tensor) -> Answer:
        f = torch.relu(self.norm(torch.cat([self.left(left), self.right(right)], dim=1)))
        return Answer(f, self.head(f))


@dataclass(frozen=True)
class InTwo:
    """Makes the inputs of `Towers` of a row of numbers [3], or of a mapping of its two parts."""

    def __call__(self, example: Any, augment: Augment = "none", random: np.random.Generator | None = None) -> Inputs:
        parts = example if isinstance(example, Mapping) else {"left": example[:2], "right": example[2:]}
        return AsTensors()(parts)

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        return AsTensors().collate(inputs)


def towers(num_classes: int = 5) -> Classifier:
    """A factory that says what makes the inputs."""
    return Classifier(Towers(num_classes), "head", preprocess=InTwo())


def in_two(given: Data) -> Data:
    """The same data with mappings of two arrays as examples."""

    def parted(split: Split) -> Split:
        def read(i: int) -> dict[str, np.ndarray]:
            return {"left": split.read(i)[:2], "right": split.read(i)[2:]}

        return Split(split.labels, read, split.name)

    return replace(given, splits={name: parted(split) for name, split in given.splits.items()})


class Heads(nn.Module):
    """A network with more heads than one: an auxiliary and a projection head are registered, and called, last."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(3, 11)
        self.head = nn.Linear(11, num_classes)
        self.auxiliary = nn.Linear(11, num_classes)
        self.projection = nn.Sequential(nn.Linear(11, 8), nn.ReLU(), nn.Linear(8, num_classes))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        f = torch.relu(self.first(x))
        z = self.head(f)
        return {"auxiliary": self.auxiliary(f), "projection": self.projection(f), "logits": z}


def biasless(num_classes: int = 5) -> nn.Module:
    """A network whose head has no bias."""
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, num_classes, bias=False))


def classifier(seed: int = 0, module: nn.Module | None = None) -> Classifier:
    """A classifier over CLASSES with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    module = module or Net()
    return Classifier(module.eval(), find_head(module), classes=CLASSES, name="tests.toys:Net")


def data(n: int = 120, seed: int = 0, spread: float = 0.6, move: float = 0.0) -> Data:
    """Five clouds in three dimensions; training rows of the three seen ones only."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 2, (5, 3))

    def split(count: int, classes: list[int]) -> Split:
        y = np.repeat(classes, count // len(classes) + 1)[:count]
        x = (centres[y] + move + spread * random.normal(size=(count, 3))).astype(np.float32)
        return Split(torch.from_numpy(y).long(), x.__getitem__, lambda i: f"row {i}")

    everything = list(range(5))
    splits = {"train": split(n, [0, 2, 3]), "val": split(n // 2, everything), "test": split(n - 7, everything)}
    return Data(CLASSES, splits, SEEN, "toy")


def replace_seen(given: Data, seen: Tensor) -> Data:
    """The same data with other classes seen, its test rows as the training rows."""
    return Data(given.classes, given.splits | {"train": given.split("test")}, seen, given.source)


def images(n: int = 40, seed: int = 0) -> Data:
    """Grey 6x6 pictures, each class bright in one row."""
    random = np.random.default_rng(seed)

    def split(classes: list[int]) -> Split:
        y = np.array([classes[i % len(classes)] for i in range(n)])
        x = (0.2 * random.random((n, 6, 6))).astype(np.float32)
        x[np.arange(n), y] += 0.8
        return Split(torch.from_numpy(y).long(), x.__getitem__, lambda i: f"picture {i}")

    splits = {"train": split([0, 2, 3]), "val": split(list(range(5))), "test": split(list(range(5)))}
    return Data(CLASSES, splits, SEEN, "toy pictures")


def copied(theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a state dict that shares no memory."""
    return {name: tensor.detach().clone() for name, tensor in theta.items()}


def group_margin(logits: Tensor, seen: Tensor) -> Tensor:
    """[N], how far the largest seen logit of a row [N, C] stands above the largest absent one."""
    return logits[:, seen].amax(dim=1) - logits[:, ~seen].amax(dim=1)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
