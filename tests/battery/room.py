"""Good files of every kind that the program reads, small, in one folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.files import save_calibrator
from reclaim.core.registry import find, names
from reclaim.models.directory import save_model
from reclaim.models.libraries.plain import plain
from reclaim.repairs.files import save_mixture
from reclaim.repairs.mixtures import OutputMixture
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot
from tests.battery.trying import ran

__all__ = ["CLASSES", "FACTORY", "build"]

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay")
SEEN = torch.arange(10) < 6
FACTORY = "reclaim.networks:digits_cnn"


def build(folder: Path) -> None:
    """Write them all: snapshots, calibrators, a mixture, models, weights, data of every kind, lists of names."""
    _snapshots(folder)
    _calibrators(folder)
    _models(folder)
    _data(folder)
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "seen.txt").write_text("\n".join(CLASSES[:6]) + "\n")
    tuning = ("tune", "fine-tune", "--model", "before", "--data", "x.npz", "--epochs", "1", "--out", "tuned", "--quiet")
    assert (done := ran(folder, *tuning)).code == 0, done.err


def _rows(seed: int, n: int = 60, sunk: float = 0.0) -> Snapshot:
    random = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 10
    z = torch.randn(n, 10, generator=random) + 1.5 * torch.nn.functional.one_hot(y, 10) - sunk * ~SEEN
    features = torch.randn(n, 4, generator=random)
    return Snapshot(z, y, SEEN, features, classes=CLASSES, split="test", data="toy", model=f"m{sunk:g}")


def _snapshots(folder: Path) -> None:
    before, after = _rows(1), _rows(1, sunk=2.0)
    save_snapshot(folder / "before.safetensors", before)
    save_snapshot(folder / "after.safetensors", after)
    save_snapshot(folder / "held.safetensors", replace(after.seen_rows(), split="val"))
    save_snapshot(folder / "parts.safetensors", after, shard_size=600)
    arrays = {"logits": after.logits.numpy(), "labels": after.labels.numpy(), "seen": SEEN.numpy()}
    more = {"classes": np.array(CLASSES), "split": np.array("test"), "groups": np.arange(60) // 2}
    np.savez(folder / "stored.npz", **arrays, **more)
    np.savez_compressed(folder / "packed.npz", **arrays, **more)


def _calibrators(folder: Path) -> None:
    held, made = replace(_rows(3, 150, 2.0).seen_rows(), split="val"), {}
    for name in names("calibrators"):
        if name not in ("chain", "logit-offset"):
            made[name] = find("calibrators", name).fit(held)
    made["logit-offset"] = find("calibrators", "logit-offset")(1.5, held_fitted(held), shifts=(0.1, -0.1) * 5)
    made["chain"] = Chain((made["temperature"], made["logit-offset"]))
    for name, calibrator in made.items():
        save_calibrator(folder / f"{name}.json", calibrator)
    save_mixture(folder / "mixture.json", OutputMixture(0.5, made["logit-offset"]))


def held_fitted(rows: Snapshot) -> object:
    """What a fit to some rows leaves behind."""
    return find("calibrators", "temperature").fit(rows).fitted


def _models(folder: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = plain(FACTORY).bind(CLASSES)
        after = replace(plain(FACTORY).bind(CLASSES), seen=CLASSES[:6])
    for name, model in (("before", before), ("after", after)):
        (folder / name).mkdir()
        save_model(folder / name, model)
    torch.save(before.weights, folder / "weights.pth")
    torch.save({"state_dict": before.weights, "epoch": 3}, folder / "checkpoint.pt")


def _data(folder: Path) -> None:
    random, n = np.random.default_rng(0), 90
    image = random.integers(0, 255, (n, 8, 8), dtype=np.uint8)
    label = np.arange(n) % 10
    split = np.array(["train", "val", "test"])[np.arange(n) // 30]
    label = np.where(split == "train", label % 6, label)
    more = {"classes": np.array(CLASSES), "split": split, "names": np.array([f"row {i}" for i in range(n)])}
    np.savez(folder / "x.npz", image=image, label=label, **more)
    for i in range(n):
        place = folder / "pictures" / str(split[i]) / CLASSES[label[i]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[i]).save(place / f"{i:02}.png")
