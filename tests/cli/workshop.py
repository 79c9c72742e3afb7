"""A pair of models and a folder of pictures on disk, for the commands: the demo's digits, written as images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from reclaim.data.load import load_data
from reclaim.data.records import Data
from reclaim.data.sources.digits import digits
from reclaim.models.directory import save_model
from reclaim.models.libraries.plain import plain
from reclaim.models.predict import predict
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune

FACTORY = "reclaim.networks:digits_cnn"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLASSES = tuple(sorted(NAMES))  # as folders come
SEEN = tuple(sorted(name for name, seen in zip(NAMES, digits("digits-shifted").seen.tolist(), strict=True) if seen))


def write(root: Path, data: Data, split: str, count: int) -> None:
    """The first examples of a split as class folders."""
    rows = data.split(split)
    for i in range(min(count, len(rows))):
        folder = root / split / NAMES[int(rows.labels[i])]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((rows.read(i) / 1.5 * 255).clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")


def build(root: Path) -> None:
    """``source/`` and ``target/`` folders, ``before/`` and ``after/`` models, and their snapshots."""
    write(root / "source", digits(), "train", 400)
    for split, count in (("train", 150), ("val", 150), ("test", 125)):
        write(root / "target", digits("digits-shifted"), split, count)
    target = load_data(str(root / "target"))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the network's first weights are drawn
        start = plain(FACTORY).bind(CLASSES)
    before = fine_tune(start, load_data(str(root / "source")), Budget(20, 0.05, 32))
    after = replace(fine_tune(before, target, Budget(20, 0.02, 32)), seen=SEEN)
    for name, model in (("before", before), ("after", after)):
        (root / name).mkdir()
        save_model(root / name, model)
        for split in ("val", "test"):
            save_snapshot(root / f"{name}-{split}.safetensors", predict(model, target, split))


def snapshot_npz(path: Path, rows: Snapshot, **changed: object) -> Path:
    """The same rows as someone else would bring them."""
    arrays = {"logits": rows.logits.numpy(), "labels": rows.labels.numpy(), "seen": rows.seen.numpy()} | changed
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path
