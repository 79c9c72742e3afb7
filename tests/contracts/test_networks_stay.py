"""Whatever runs a network leaves it where it was and as it was, also where it fails or is stopped.

A new call that takes a network is one line of `CALLS`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.records import Data, Split
from reclaim.models.batch_norm import measure_again
from reclaim.models.classifier import Classifier
from reclaim.models.directory import save_model
from reclaim.models.head import ends_with_head, find_head, first_row, fold
from reclaim.models.head_alone import head_alone
from reclaim.models.placement import device_of
from reclaim.models.predict import predict
from reclaim.repairs.choices import Choices
from reclaim.repairs.folding import fold_offset
from reclaim.repairs.mixtures import WeightMixtures
from reclaim.repairs.models import repair
from reclaim.repairs.rows import Part
from reclaim.report.diagnose import diagnose
from reclaim.training.budget import Budget
from reclaim.training.recipes.linear_probe import linear_probe
from tests import toys

Call = Callable[[Classifier, Classifier, Data, Inference, Path], list[Classifier | nn.Module]]
OFFSET = LogitOffset(1.5, Fitted(tuple(toys.SEEN.tolist()), toys.CLASSES))


def predicted(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    made = predict(after, data, "val", inference=how)
    assert {t.device.type for t in (made.logits, made.features)} == {"cpu"} and not made.logits.is_inference()
    return []


def written(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    predict(after, data, "val", inference=how, out=place / "rows")
    return []


def measured(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    return [measure_again(after, data.split("val"), how)]


def folded(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    made, _ = fold_offset(after, OFFSET, Part(data, data.seen_only("val"), "rows"), how)
    return [made, fold(after, OFFSET.affine(after.classes)), after.reordered(after.classes[::-1])]


def mixed(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    mixtures = WeightMixtures(before, after, data.split("train"), how)
    mixtures.answers(0.5, Part(data, data.split("val"), "rows"))
    return [mixtures.model(0.5)]


def repaired(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    done = repair(before, after, data, Choices(), inference=how)
    diagnose(done.before, done.after)
    return [done.model]


def repaired_module(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    rows = data.split("val")
    given = [rows.read(i) for i in range(len(rows))], rows.labels
    return [repair(before.module, after.module, given, seen=[0, 2, 3], inference=how).model]


def alone(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    return [head_alone(after, data, how)[0]]


def traced(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    assert ends_with_head(after, first_row(after, data.split("val"))) and find_head(after.module) == "head"
    return []


def saved(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    save_model(place, after)
    return []


def probed(before: Classifier, after: Classifier, data: Data, how: Inference, place: Path) -> list[Any]:
    return [linear_probe(after, data, Budget(device=how.device), strengths=1, iterations=5)]


CALLS: dict[str, Call] = {
    call.__name__: call
    for call in (predicted, written, measured, folded, mixed, repaired, repaired_module, alone, traced, saved, probed)
}
READING = [name for name in CALLS if name not in ("traced", "saved", "folded")]  # more than a row


def lived_in(seed: int, home: str) -> Classifier:
    """A network with parts in different modes, a frozen part, and gradients."""
    model = toys.classifier(seed)
    net = model.module.to(home).train()
    net(torch.ones(4, 3, device=home)).sum().backward()
    net.norm.eval()
    net.first.bias.requires_grad_(False)
    return model


def belongings(net: nn.Module) -> dict[str, tuple[Any, ...]]:
    """What must stay: objects, their memory, values, devices, types, flags, gradients, modes and hooks."""
    parts: dict[str, tuple[Any, ...]] = {
        f"part {name}": (part.training, len(part._forward_hooks), len(part._forward_pre_hooks))
        for name, part in net.named_modules()
    }
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    for name, t in tensors.items():
        values = t.detach().cpu().clone().flatten().tolist()
        parts[name] = (id(t), t.data_ptr(), t.device, t.dtype, t.requires_grad, id(t.grad), t.is_inference(), values)
    return parts


PLACES = pytest.mark.parametrize(
    ("home", "where"), [("cpu", "card"), ("card", "cpu"), ("card", "auto"), ("cpu", "cpu")]
)


def run(name: str, data: Data, home: str, where: str, device: torch.device, place: Path) -> list[Any]:
    """One call, and that nothing has changed however it ended."""
    names = {"cpu": "cpu", "card": str(device), "auto": "auto"}
    before, after = (lived_in(seed, names[home]) for seed in (0, 1))
    kept = [belongings(model.module) for model in (before, after)]
    made: list[Any] = []
    try:
        made = CALLS[name](before, after, data, Inference(batch_size=16, workers=0, device=names[where]), place)
    finally:
        assert [belongings(model.module) for model in (before, after)] == kept
    modules = [one.module if isinstance(one, Classifier) else one for one in made]
    assert [device_of(module) for module in modules] == [torch.device(names[home])] * len(modules)
    assert not any(t.is_inference() for module in modules for t in (*module.parameters(), *module.buffers()))
    return modules


@PLACES
@pytest.mark.parametrize("name", CALLS)
def test_after_success(name: str, home: str, where: str, device: torch.device, tmp_path: Path) -> None:
    for module in run(name, toys.data(), home, where, device, tmp_path):  # what is made can be trained
        module.requires_grad_(True)


class Torn:
    """Reads rows, of which one cannot be read, or cannot be answered."""

    def __init__(self, split: Split, what: BaseException | float) -> None:
        self.split, self.what = split, what

    def __call__(self, i: int) -> np.ndarray:
        if i == 2 * len(self.split) // 3:
            if isinstance(self.what, BaseException):
                raise self.what
            return np.full(3, self.what, np.float32)
        made: np.ndarray = self.split.read(i)
        return made


@pytest.mark.parametrize("what", [KeyboardInterrupt(), BadInput("row cannot be read"), float("nan")], ids=repr)
@pytest.mark.parametrize(("home", "where"), [("cpu", "card"), ("card", "cpu")])
@pytest.mark.parametrize("name", READING)
def test_after_failure(name: str, home: str, where: str, what: Any, device: torch.device, tmp_path: Path) -> None:
    whole = toys.data()
    torn = {part: replace(split, read=Torn(split, what)) for part, split in whole.splits.items()}
    error = type(what) if isinstance(what, BaseException) else (BadInput, ValueError)
    if not (isinstance(what, float) and name == "measured"):  # which a number that is none does not stop
        with pytest.raises(error):
            run(name, replace(whole, splits=torn), home, where, device, tmp_path)


def test_a_consumer_that_raises_leaves_the_network_as_it_was(device: torch.device, tmp_path: Path) -> None:
    """A full disk, in the middle of a split."""
    (tmp_path / "rows").mkdir()
    with pytest.raises((BadInput, OSError)):
        run("written", toys.data(), "cpu", "card", device, tmp_path)


def test_a_pretrained_network_on_the_cpu_and_a_fine_tuned_one_on_a_card_mix_there(device: torch.device) -> None:
    before, after = lived_in(0, "cpu"), lived_in(1, str(device))
    kept = [belongings(model.module) for model in (before, after)]
    done = repair(before, after, toys.data(), inference=Inference(workers=0))
    diagnose(done.before, done.after)
    assert device_of(done.model.module) == device
    assert [belongings(model.module) for model in (before, after)] == kept
    same = repair(lived_in(0, "cpu"), lived_in(1, "cpu"), toys.data(), inference=Inference(workers=0))
    assert done.alpha == same.alpha and done.offset.offset == pytest.approx(same.offset.offset, abs=1e-4)


@pytest.mark.parametrize("name", ["predicted", "measured", "repaired"])
def test_a_network_in_two_places_is_refused(name: str, device: torch.device, tmp_path: Path) -> None:
    two = toys.classifier()
    two.module.head.to(device)
    with pytest.raises(BadInput, match="lies on several devices"):
        CALLS[name](toys.classifier(), two, toys.data(), Inference(workers=0), tmp_path)


@pytest.mark.parametrize("name", ["predicted", "measured", "repaired"])
def test_a_network_without_weights_is_refused(name: str, tmp_path: Path) -> None:
    bare = replace(toys.classifier(), module=toys.Net().to("meta"))
    with pytest.raises(BadInput, match="has no weights yet"):
        CALLS[name](bare, bare, toys.data(), Inference(workers=0), tmp_path)
