"""`predict` beside a bare loop over the same loader: what the snapshot, the features and the checks cost.

Run: python -m benchmarks.speed.predict_loop

A torchvision ResNet-18 with 100 outputs on random 64-pixel images, one thread, batches of 32 on the CPU. Each pair runs
both ways, in turns; the number is the median over the pairs of the CPU seconds of the loop divided by those of
`predict`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from reclaim.core.extras import require
from reclaim.core.inference import Inference
from reclaim.data.inputs.image import Preprocess
from reclaim.data.records import Data, Split
from reclaim.models.batches import evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict

ROWS, CLASSES, PAIRS = 512, 100, 9
INFERENCE = Inference(batch_size=32, device="cpu")
MODEL_HEAD = "fc"


def classifier() -> Classifier:
    """ResNet-18 with first weights."""
    torch.manual_seed(0)
    module = require("torchvision.models", extra="torchvision").resnet18(num_classes=CLASSES)
    return Classifier(module.eval(), MODEL_HEAD, data(1).classes, preprocess=Preprocess(channels=3, crop=64))


def data(n: int) -> Data:
    """Random images [64, 64, 3]."""
    pictures = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    rows = Split(torch.arange(n) % CLASSES, pictures.__getitem__, str)
    return Data(tuple(map(str, range(CLASSES))), {"test": rows}, torch.arange(CLASSES) < CLASSES // 2, "noise")


@torch.inference_mode()
def bare(model: Classifier, rows: Data) -> Tensor:
    """The logits by the shortest loop there is."""
    answers = []
    for x, _ in evaluation_batches(model, rows.split("test"), INFERENCE):
        assert isinstance(x, Tensor)
        answers.append(model.module(x.to(memory_format=torch.channels_last)))
    return torch.cat(answers)


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print the median ratio, or exit with 1 if it is below the floor that is given."""
    torch.set_num_threads(1)
    model, rows = classifier(), data(ROWS)
    assert torch.equal(predict(model, rows, "test", inference=INFERENCE).logits, bare(model, rows))
    ratios, ours = [], []
    for pair in range(PAIRS):
        ways: list[Callable[[], object]] = [
            lambda: bare(model, rows),
            lambda: predict(model, rows, "test", inference=INFERENCE),
        ]
        took = [0.0, 0.0]
        for way in (0, 1) if pair % 2 else (1, 0):
            took[way] = seconds(ways[way])
        ratios.append(took[0] / took[1])
        ours.append(took[1])
    ratio = statistics.median(ratios)
    print(f"{ROWS} images: predict takes {statistics.median(ours):.2f} CPU seconds")
    print(f"speed beside a bare loop: {ratio:.3f} (pairs from {min(ratios):.3f} to {max(ratios):.3f})")
    if len(sys.argv) > 1 and ratio < float(sys.argv[1]):
        sys.exit(1)


if __name__ == "__main__":
    main()
