"""Memory and time of a prediction that streams to disk, by the number of rows.

Run: python -m benchmarks.speed.prediction

A linear network with 1,000 outputs answers rows of 64 numbers, so that nearly all memory and time is the snapshot's.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.speed.memory import extra_memory
from reclaim.core.inference import Inference
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict

SIZES = (20_000, 50_000, 100_000, 200_000)
CLASSES, FEATURES = 1_000, 64


def rows(n: int) -> Data:
    """Rows of noise, made when they are read."""
    names = tuple(str(c) for c in range(CLASSES))
    split = Split(torch.arange(n) % CLASSES, row, str)
    return Data(names, {"test": split}, torch.arange(CLASSES) < CLASSES // 2, "noise")


def row(i: int) -> np.ndarray:
    """The numbers of row i."""
    return np.random.default_rng(i).random(FEATURES, dtype=np.float32)


def main() -> None:
    """Print the table."""
    module = nn.Sequential(nn.Identity(), nn.Linear(FEATURES, CLASSES))
    model = Classifier(module, "1", classes=rows(1).classes)
    print(f"{CLASSES:,} classes, {FEATURES} features, float32\n")
    print("| rows | snapshot, MiB | peak memory beyond the start, MiB | seconds |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.safetensors"
        predict(model, rows(1_000), "test", out=path)  # loads what loads once
        for n in SIZES:
            seconds: list[float] = []

            def run(n: int = n, seconds: list[float] = seconds) -> None:
                start = time.perf_counter()
                made = predict(model, rows(n), "test", out=path, inference=Inference(batch_size=256))
                seconds.append(time.perf_counter() - start)
                del made

            memory = extra_memory(run)
            print(f"| {n:,} | {path.stat().st_size / 2**20:,.0f} | {memory / 2**20:.1f} | {seconds[0]:.1f} |")


if __name__ == "__main__":
    main()
