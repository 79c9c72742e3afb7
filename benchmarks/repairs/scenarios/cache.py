"""What is kept of a scenario, so that nothing need be trained again.

One safetensors file per scenario; its metadata hold the scenario. C classes, W = 11 alphas, 0, 0.1, …, 1, so that [0]
is the pretrained and [-1] the fine-tuned network; N rows of a split: "held" and "train" (seen classes only),
"unlabelled", "test" and "source" (all classes), in random order, so that the first n of them are a sample. Logits of 50
classes and more are in half precision.

=================  =========  =======================================================================================
seen               [C]        bool
labels.SPLIT       [N]        those of "unlabelled" serve no method
mix.SPLIT          [W, N, C]  logits of the weights' mixtures
backbone.SPLIT     [3, N, C]  "held", "test": the backbone mixed at .25, .5, .75, the head the fine-tuned one's
head.SPLIT         [3, N, C]  "held", "test": the head mixed, the backbone the fine-tuned one's
before.SPLIT       [N, D]     "held", "test", "train", if D ≤ 256: the head's inputs in the pretrained network, float16
after.SPLIT        [N, D]     the same in the fine-tuned one
=================  =========  =======================================================================================

Another file per scenario, beside it in ``pseudo/``, holds three fine-tunings on one half of the seen classes, which
pseudo cross-validation needs: `seen` [3, C] of those halves, and `mix` [3, W, N, C] and `labels` [N] of the rows of
"held". Batch norms of mixtures are measured again on the training rows, where they differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.repairs.scenarios.dividing import seen_classes
from benchmarks.repairs.scenarios.records import Scenario, World
from reclaim.core.files import atomic_file
from reclaim.core.inference import Inference
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict
from reclaim.repairs.alpha import ALPHAS
from reclaim.repairs.mixtures import WeightMixtures
from reclaim.training.recipes.fine_tune import fine_tune

__all__ = ["FOLDER", "Record", "load", "path_of", "pseudo_snapshots", "save", "snapshots"]

FOLDER = Path("out/bench/repair")
PARTS = (0.25, 0.5, 0.75)
JUDGED = ("held", "test")
MOST = {"held": 2500, "train": 2000, "unlabelled": 2000, "test": 4000, "source": 1000}
HALF_FROM, WIDEST = 50, 256
RUNNING = Inference(device="cpu")


@dataclass(frozen=True)
class Record:
    """A file of the cache: `scenario` as a dictionary, `classes`, and the arrays by name."""

    scenario: dict[str, Any]
    classes: tuple[str, ...]
    arrays: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]


def path_of(name: str, *, pseudo: bool = False, folder: Path = FOLDER) -> Path:
    """The file of a scenario."""
    return (folder / "pseudo" if pseudo else folder) / f"{name}.safetensors"


def load(name: str, *, pseudo: bool = False, folder: Path = FOLDER) -> Record:
    """Read what is kept of a scenario, by its name."""
    with safe_open(path_of(name, pseudo=pseudo, folder=folder), "pt") as file:
        about = json.loads(file.metadata()["about"])
        return Record(about["scenario"], tuple(about["classes"]), {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118


def save(path: Path, scenario: Scenario, classes: tuple[str, ...], arrays: Mapping[str, Tensor]) -> None:
    """Write it whole or not at all."""
    about = json.dumps({"scenario": asdict(scenario), "classes": classes})
    with atomic_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in arrays.items()}, temporary, {"about": about})


def snapshots(scenario: Scenario, world: World) -> dict[str, Tensor]:
    """Fine-tune, and answer every split with every mixture."""
    data = _with_seen(world.data, seen_classes(world.data.classes, scenario.share, scenario.split))
    after = _tuned(scenario, world.before, data)
    mixed = _mixtures(world.before, after, data, ALPHAS)
    parts = _mixtures(world.before, after, data, PARTS)
    data = _shown(data)
    kept = {"seen": data.seen} | {f"labels.{name}": rows.labels for name, rows in data.splits.items()}
    ways = {"mix": (mixed, tuple(data.splits))}
    ways["backbone"] = ([_put_head(model, after) for model in parts], JUDGED)
    ways["head"] = ([_put_head(after, model) for model in parts], JUDGED)
    for way, (models, splits) in ways.items():
        for name in splits:
            kept[f"{way}.{name}"] = torch.stack([_logits(model, data, name) for model in models])
    if after.num_features <= WIDEST:
        for which, model in {"before": world.before, "after": after}.items():
            for name in ("held", "test", "train"):
                features = predict(model, data, name, half=True, inference=RUNNING).features
                assert features is not None
                kept[f"{which}.{name}"] = features
    return kept


def pseudo_snapshots(scenario: Scenario, world: World, runs: int = 3) -> dict[str, Tensor]:
    """Fine-tune on one half of the seen classes, and answer held-out rows of both halves with every mixture."""
    seen = seen_classes(world.data.classes, scenario.share, scenario.split)
    held = _shown(_with_seen(world.data, seen)).split("held")
    masks, logits = [], []
    for run in range(runs):
        half = _with_seen(world.data, seen_classes(seen, 50, run))
        after = _tuned(scenario, world.before, half)
        rows = Data(half.classes, {"train": half.split("train"), "held": held}, half.seen)
        models = _mixtures(world.before, after, rows, ALPHAS)
        logits.append(torch.stack([_logits(model, rows, "held") for model in models]))
        masks.append(half.seen)
    return {"seen": torch.stack(masks), "mix": torch.stack(logits), "labels": held.labels}


def _with_seen(data: Data, seen: tuple[str, ...]) -> Data:
    """No row of an absent class in "train" and "held"."""
    data = data.with_seen(seen)
    only = {name: data.seen_only(name) for name in ("train", "held")}
    return Data(data.classes, data.splits | only, data.seen)


def _shown(data: Data) -> Data:
    """No more rows than are kept."""
    splits = {name: rows.rows(torch.arange(min(MOST[name], len(rows)))) for name, rows in data.splits.items()}
    return Data(data.classes, splits, data.seen)


def _tuned(scenario: Scenario, before: Classifier, data: Data) -> Classifier:
    recipe = scenario.recipe
    return fine_tune(before, data, recipe.budget(scenario.seed), mode="eval" if recipe.frozen else "train")


def _mixtures(before: Classifier, after: Classifier, data: Data, alphas: tuple[float, ...]) -> list[Classifier]:
    mixtures = WeightMixtures(before, after, data.split("train"), RUNNING)
    return [mixtures.model(alpha) for alpha in alphas]


def _put_head(body: Classifier, head: Classifier) -> Classifier:
    """The one's backbone under the other's head."""
    theirs = {name: tensor for name, tensor in head.weights.items() if name.startswith(f"{head.head}.")}
    return body.with_weights(body.weights | theirs)


def _logits(model: Classifier, data: Data, split: str) -> Tensor:
    return predict(model, data, split, features=False, half=len(data.classes) >= HALF_FROM, inference=RUNNING).logits
