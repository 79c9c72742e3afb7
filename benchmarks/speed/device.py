"""What the library costs on a device, beside bare loops there: one table, in less than four minutes.

Run: python -m benchmarks.speed.device [--device auto|cpu|cuda|cuda:1|mps] [--rounds 5]

`predict` and the training loop run beside the shortest loops there are over the same examples, in turns; `repair` of
the CIFAR pair beside one pass over its data by both networks (RECLAIM_DATA says where they lie); the trade-off curve
with its area, and the selector `auto`, beside one read of all the logits that they read. On a card the network is
ResNet-50 at 224 pixels, elsewhere ResNet-18 at 64. Times are wall-clock times, medians over rounds; so are the ratios,
each of two times of one round. A range wider than a tenth of its ratio is marked: something else ran, and the line is
worth little.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.repairs.choosing import evidence
from benchmarks.speed.paired import Line, paired
from benchmarks.speed.trade_off_curve import data as logits
from benchmarks.speed.trade_off_curve import ours as curve_and_area
from reclaim.calibration.evidence import Evidence
from reclaim.core.devices import find_device
from reclaim.core.extras import require
from reclaim.core.inference import Inference, Precision
from reclaim.core.registry import find
from reclaim.data.inputs.image import Preprocess
from reclaim.data.load import load_data
from reclaim.data.loader import Examples
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.directory import load_model
from reclaim.models.predict import predict
from reclaim.repairs.models import repair
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, steps

CLASSES = 100
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")
CIFAR = Preprocess(channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Size:
    """How much is run: the network, its images' pixels, rows, batch, steps of a turn, and workers beside none."""

    network: str
    pixels: int
    rows: int
    batch: int
    steps: int
    workers: int


CARD = Size("resnet50", 224, 4096, 256, 12, min(12, os.cpu_count() or 1))
SMALL = Size("resnet18", 64, 192, 32, 2, min(2, os.cpu_count() or 1))


def pictures(size: Size) -> Data:
    """Noise, a little larger than the network takes it."""
    random, edge = np.random.default_rng(0), size.pixels + size.pixels // 8
    images = random.integers(0, 256, (64, edge, edge, 3), dtype=np.uint8)

    def read(i: int) -> np.ndarray:
        return images[i % len(images)]

    rows = Split(torch.arange(size.rows) % CLASSES, read, str)
    names = tuple(map(str, range(CLASSES)))
    return Data(names, {"train": rows, "test": rows}, torch.ones(CLASSES, dtype=torch.bool), "noise")


def classifier(size: Size, data: Data) -> Classifier:
    """With first weights."""
    torch.manual_seed(0)
    module = getattr(require("torchvision.models", extra="torchvision"), size.network)(num_classes=CLASSES)
    return Classifier(module.eval(), "fc", data.classes, preprocess=Preprocess(channels=3, crop=size.pixels))


def in_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """What a bare loop runs in."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def loader(
    model: Classifier, split: Split, size: Size, workers: int, device: torch.device, *, train: bool
) -> DataLoader:
    """A plain one."""
    examples = Examples(split, model.preprocess)
    return DataLoader(
        examples,
        size.batch,
        shuffle=train,
        drop_last=train,
        num_workers=workers,
        collate_fn=examples.collate,
        pin_memory=device.type == "cuda",
    )


def arrived(x: Tensor, device: torch.device) -> Tensor:
    """Images on the device, as convolutions like them."""
    return x.to(device, memory_format=torch.channels_last, non_blocking=True)


@torch.inference_mode()
def bare_prediction(model: Classifier, data: Data, size: Size, workers: int, device: torch.device, how: str) -> Tensor:
    """The logits by the shortest loop there is."""
    net, made = model.module.to(device).eval(), []
    with in_precision(how, device):
        for x, _ in loader(model, data.split("test"), size, workers, device, train=False):
            made.append(net(arrived(x, device)).float())
    return torch.cat(made).cpu()


def bare_steps(
    model: Classifier, data: Data, size: Size, workers: int, device: torch.device, how: str
) -> Iterator[None]:
    """Training, step by step, by the shortest loop there is."""
    net = model.module.to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    while True:
        for x, y in loader(model, data.split("train"), size, workers, device, train=True):
            optimizer.zero_grad()
            with in_precision(how, device):
                loss = cross_entropy(net(arrived(x, device)), y.to(device, non_blocking=True))
            loss.backward()
            optimizer.step()
            yield


def our_steps(model: Classifier, data: Data, budget: Budget) -> Iterator[None]:
    """Training by the library, step by step."""
    for batch in steps(model, data, budget):
        batch.backward(classification(batch))
        batch.step()
        yield


def turn(loop: Iterator[None], count: int) -> None:
    """So many steps."""
    for _ in islice(loop, count):
        pass


def predictions(size: Size, device: torch.device, rounds: int) -> Iterator[Line]:
    """`predict` beside a bare loop, with and without workers."""
    data = pictures(size)
    model = classifier(size, data)
    bare_model = classifier(size, data)
    for precision, workers in product(PRECISIONS, (0, size.workers)):
        inference = Inference(size.batch, workers, str(device), precision)
        ours = partial(predict, model, data, "test", inference=inference)
        bare = partial(bare_prediction, bare_model, data, size, workers, device, precision)
        yield paired(f"predict, {precision}, {workers} workers", ours, bare, rounds, device)


def trainings(size: Size, device: torch.device, rounds: int) -> Iterator[Line]:
    """The training loop beside a bare one."""
    data = pictures(size)
    for precision in ("no", "bf16"):
        budget = Budget(
            steps=(rounds + 1) * size.steps,
            learning_rate=1e-3,
            batch_size=size.batch,
            device=str(device),
            precision=precision,
            workers=size.workers,
        )
        ours = our_steps(classifier(size, data), data, budget)
        bare = bare_steps(classifier(size, data), data, size, size.workers, device, precision)
        name = f"fit, {'float32' if precision == 'no' else precision}, {size.workers} workers"
        yield paired(name, partial(turn, ours, size.steps), partial(turn, bare, size.steps), rounds, device)


def repairs(folder: Path, device: torch.device, rounds: int) -> Iterator[Line]:
    """`repair` of the CIFAR pair beside one pass over its data by both networks."""
    data = load_data(str(folder / "images" / "cifar10_jpeg_test.npz"))
    data = data.with_seen(("airplane", "bird", "deer", "frog", "ship"))
    files = (folder / "weights" / f"resnet20_cifar10{name}.safetensors" for name in ("", "_ft5"))
    loaded = [load_model(f"plain/reclaim.networks:resnet20@{file}") for file in files]
    before, after = (replace(model, preprocess=CIFAR) for model in loaded)
    inference = Inference(device=str(device))

    def passes() -> None:
        for model in (before, after):
            for split in data.splits:
                predict(model, data, split, inference=inference)

    ours = partial(repair, before, after, data, inference=inference)
    yield paired("repair of the CIFAR pair / one pass by both", ours, passes, rounds, device)


def arrays(device: torch.device, rounds: int) -> Iterator[Line]:
    """The curve with its area, and `auto`, in reads of the logits."""
    z, y, seen = (tensor.to(device) for tensor in logits(50_000, 1_000))
    yield paired(
        "curve and area / read of 50,000 × 1,000", partial(curve_and_area, z, y, seen), _read(z), rounds, device
    )
    del z
    given = evidence()
    assert given.seen is not None and given.before is not None
    now, then = (replace(rows, logits=rows.logits.to(device)) for rows in (given.seen, given.before))
    moved = Evidence(seen=now, before=then, reference=now)
    yield paired("auto / read of both models' logits", partial(find("selectors", "auto"), moved),
                 _read(now.logits, then.logits), rounds, device)  # fmt: skip


def _read(*all_logits: Tensor) -> Callable[[], object]:
    """One read; on a CPU by NumPy, which uses one core."""
    if all_logits[0].device.type == "cpu":
        return lambda: [z.numpy().max(axis=1) for z in all_logits]
    return lambda: [z.amax(dim=1) for z in all_logits]


def about(device: torch.device) -> Iterator[str]:
    """The device and the versions, and what makes the table worth less."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores"
    cuda = f", CUDA {torch.version.cuda}" if device.type == "cuda" else ""
    yield f"{device} ({name}), torch {torch.__version__}{cuda}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        if total - free > 2 << 30:
            yield f"warning: {(total - free) / 2**30:.1f} GiB of the card are taken by others: it is shared"
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > 0.5 * (os.cpu_count() or 1):
        yield f"warning: the machine is busy, its load is {load:.1f}; times will be noisy"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    device, start = find_device(given.device), time.perf_counter()
    size = CARD if device.type == "cuda" else SMALL
    print("\n".join(about(device)))
    print(f"{size.network}, {size.pixels} pixels, {size.rows:,} images in batches of {size.batch}\n")
    print("|  | ratio | range | ours, ms | bare, ms |\n| --- | --- | --- | --- | --- |")
    folder = os.environ.get("RECLAIM_DATA")
    parts = [predictions(size, device, given.rounds), trainings(size, device, given.rounds)]
    parts += [repairs(Path(folder), device, min(given.rounds, 3 if device.type == "cuda" else 1))] if folder else []
    for part in [*parts, arrays(device, given.rounds)]:
        for line in part:
            print(line, flush=True)
    if not folder:
        print("\nrepair of the CIFAR pair is left out: RECLAIM_DATA does not say where its data lie.")
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
