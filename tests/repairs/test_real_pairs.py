"""The main job on real networks and real images: better than both models and than any offset on the fine-tuned one."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.repairs.stitched import PAIRS, measured
from reclaim.core.extras import require
from reclaim.data.load import load_data
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.directory import load_model, save_model
from reclaim.models.networks import resnet20
from reclaim.repairs.models import repair
from reclaim.repairs.result import Repair
from reclaim.repairs.rows import divide
from reclaim.report.evaluate import evaluate

pytestmark = pytest.mark.real

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SEEN = Path(__file__).parent.parent.parent / "examples" / "tiny_imagenet_seen.txt"


@dataclass(frozen=True)
class Pair:
    """A pretrained and a fine-tuned network, the target data, and the repair."""

    before: Classifier
    after: Classifier
    data: Data
    done: Repair[Classifier]


def run(before: str, after: str, data: Data, **preprocess: object) -> Pair:
    models = [load_model(spec) for spec in (before, after)]
    start, end = (replace(m, preprocess=replace(m.preprocess, **preprocess)) for m in models)  # type: ignore[arg-type]
    return Pair(start, end, data, repair(start, end, data))


@pytest.fixture(scope="module")
def cifar(real_data: Path) -> Pair:
    """ResNet-20 on CIFAR-10, fine-tuned on five classes of a JPEG copy."""
    name, weights = "plain/reclaim.networks:resnet20@", real_data / "weights"
    data = load_data(str(real_data / "images" / "cifar10_jpeg_test.npz"))
    data = data.with_seen(("airplane", "bird", "deer", "frog", "ship"))
    files = weights / "resnet20_cifar10.safetensors", weights / "resnet20_cifar10_ft5.safetensors"
    return run(f"{name}{files[0]}", f"{name}{files[1]}", data, **IMAGENET)


@pytest.fixture(scope="module")
def tiny_imagenet(real_data: Path) -> Pair:
    """SqueezeNet on ImageNet, fine-tuned on half of Tiny-ImageNet's classes."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    name, weights = "torchvision/squeezenet1_0@", real_data / "weights"
    data = load_data(str(real_data / "images" / "tiny_imagenet200_val.npz")).with_seen(tuple(SEEN.read_text().split()))
    files = weights / "squeezenet1_0_imagenet1k.safetensors", weights / "squeezenet1_0_tin100_finetuned.safetensors"
    return run(f"{name}{files[0]}", f"{name}{files[1]}", data, resize=96, crop=96)


@pytest.mark.parametrize("pair", ["cifar", "tiny_imagenet"])
def test_it_beats_both_models_and_the_best_offset_on_the_fine_tuned_one(pair: str, request) -> None:
    done = request.getfixturevalue(pair).done
    before, after, repaired = (evaluate(getattr(done, name)) for name in ("before", "after", "repaired"))
    assert repaired.accuracy.all > max(before.accuracy.all, after.accuracy.all, after.tradeoff.best_all)
    assert set(done.offset.evidence) <= {"seen", "before"}  # rows of seen classes and nothing else
    assert after.accuracy.seen - repaired.accuracy.seen <= 0.05 + 2 * (0.25 / after.seen_rows) ** 0.5
    assert "at most 0.05" in done.offset.guarantee


def test_the_pairs_are_those_of_the_reference_numbers(cifar: Pair, tiny_imagenet: Pair) -> None:
    """Origin: the data's notes, which give .808/.576/.785 and .299/.251/.319 on other halves of the same rows."""
    for pair, expected in ((cifar, (0.808, 0.576, 0.785)), (tiny_imagenet, (0.299, 0.251, 0.319))):
        before, after = evaluate(pair.done.before), evaluate(pair.done.after)
        found = before.accuracy.all, after.accuracy.all, after.tradeoff.best_all
        assert found == pytest.approx(expected, abs=0.02)  # two to three standard errors of 5,000 rows


def pixels(pair: Pair, count: int) -> torch.Tensor:
    """The first report rows as plain torch takes them, prepared without Reclaim."""
    reports = divide(pair.data).report.split
    size = pair.after.preprocess.crop
    images = [reports.read(i).convert("RGB") for i in range(count)]
    images = [image.resize((size, size), 2) if size else image for image in images]
    x = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(IMAGENET["mean"]).view(3, 1, 1)) / torch.tensor(IMAGENET["std"]).view(3, 1, 1)


@torch.inference_mode()
def test_the_repaired_cifar_network_is_an_ordinary_file_that_gives_the_reported_logits(
    cifar: Pair, tmp_path: Path
) -> None:
    save_model(tmp_path, cifar.done.model)
    module = resnet20()
    module.load_state_dict(load_file(tmp_path / "model.safetensors"))
    torch.testing.assert_close(
        module.eval()(pixels(cifar, 200)), cifar.done.repaired.logits[:200], atol=1e-5, rtol=1e-5
    )


@torch.inference_mode()
def test_the_repaired_squeezenet_is_an_ordinary_file_that_gives_the_reported_logits(
    tiny_imagenet: Pair, tmp_path: Path
) -> None:
    save_model(tmp_path, tiny_imagenet.done.model)
    module = require("torchvision.models", extra="torchvision").squeezenet1_0()
    module.load_state_dict(load_file(tmp_path / "model.safetensors"))
    columns = tiny_imagenet.done.model.columns(tiny_imagenet.data.classes)
    logits = module.eval()(pixels(tiny_imagenet, 200))[:, columns]
    torch.testing.assert_close(logits, tiny_imagenet.done.repaired.logits[:200], atol=1e-5, rtol=1e-5)


def test_the_table_of_joined_heads_has_all_its_rows(real_data: Path, tmp_path: Path) -> None:
    pair = next(pair for pair in PAIRS if pair.name == "cifar")
    rows = measured(pair, 0, rows=64, epochs=1, folder=tmp_path)
    named = {name.partition(": ")[2] for name in rows if name.startswith("fresh head")}
    assert named >= {"pretrained", "fine-tuned", "stitched, no scale, no offset", "repaired", "(ceiling)"}
    assert rows["fresh head: fine-tuned"][2] == 0 and rows["fresh head: pretrained"] == rows["kept head: pretrained"]
    assert rows["fresh head: (ceiling)"][0] >= rows["fresh head: stitched, scaled"][0]
