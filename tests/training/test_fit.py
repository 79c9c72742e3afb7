"""The loop: it learns, repeats, resumes, and leaves alone what it must."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.models.predict import predict
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.training.budget import Budget
from reclaim.training.fit import fit
from reclaim.training.resume import resuming
from tests import toys
from tests.toys import copied

DATA = toys.data()
BUDGET = Budget(epochs=4, learning_rate=0.05, batch_size=16)


def seen_accuracy(model) -> float:
    rows = predict(model, DATA, "val")
    return accuracy(rows.logits, rows.labels, rows.seen).seen_among_seen


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_learns(optimizer: str) -> None:
    model = toys.classifier()
    before = seen_accuracy(model)
    fit(model, DATA, replace(BUDGET, epochs=20, optimizer=optimizer, learning_rate=0.02))
    assert seen_accuracy(model) > max(0.9, before)


def test_the_seed_decides_the_weights() -> None:
    a, b, c = (fit(toys.classifier(), DATA, replace(BUDGET, seed=seed)).weights for seed in (1, 1, 2))
    assert toys.same(a, b) and not toys.same(a, c)


def test_it_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = toys.classifier(5)
    torch.manual_seed(5)
    fit(model, DATA, BUDGET)
    assert torch.equal(torch.rand(3), expected)


def test_rows_of_absent_classes_keep_their_weights_whatever_the_loss() -> None:
    model = toys.classifier()
    start = copied(model.weights)
    fit(model, DATA, replace(BUDGET, weight_decay=0.1), loss=lambda net, x, y: net(x).square().mean())
    for name in ("head.weight", "head.bias"):
        assert torch.equal(model.weights[name][~toys.SEEN], start[name][~toys.SEEN])
        assert not torch.equal(model.weights[name][toys.SEEN], start[name][toys.SEEN])


def test_only_the_parameters_named_are_trained_and_flags_are_restored() -> None:
    model = toys.classifier()
    model.module.norm.weight.requires_grad_(False)
    start = copied(model.weights)
    fit(model, DATA, BUDGET, params=[model.module.first.weight], mode="eval")
    changed = {name for name, tensor in model.weights.items() if not torch.equal(tensor, start[name])}
    assert changed == {"first.weight"}
    flags = {name: p.requires_grad for name, p in model.module.named_parameters()}
    assert flags.pop("norm.weight") is False and all(flags.values())


def test_evaluation_mode_keeps_running_statistics() -> None:
    start = toys.classifier().weights
    train, evaluation = (fit(toys.classifier(), DATA, BUDGET, mode=mode).weights for mode in ("train", "eval"))
    assert torch.equal(evaluation["norm.running_mean"], start["norm.running_mean"])
    assert not torch.equal(train["norm.running_mean"], start["norm.running_mean"])


def test_after_every_step_the_hook_is_called() -> None:
    calls: list[int] = []
    fit(toys.classifier(), DATA, BUDGET, after_step=lambda: calls.append(1))
    assert len(calls) == 4 * (120 // 16)


def test_accumulating_over_batches_is_one_larger_batch() -> None:
    def run(batch_size: int, accumulate: int):
        model = toys.classifier()
        model.module.drop.p = 0.0
        budget = Budget(epochs=1, batch_size=batch_size, accumulate=accumulate, learning_rate=0.05, weight_decay=0.0)
        steps: list[torch.Tensor] = []
        fit(model, DATA, budget, mode="eval", after_step=lambda: steps.append(model.weights["first.weight"].clone()))
        return steps

    small, large = run(12, 5), run(60, 1)
    assert len(small) == len(large) == 2
    start = toys.classifier().weights["first.weight"]
    torch.testing.assert_close((small[0] - start) / (1 + torch.cos(torch.tensor(0.4 * torch.pi))) * 2, large[0] - start)


def test_no_example_of_an_absent_class_is_read() -> None:
    split = DATA.split("val")

    def read(i: int):
        assert bool(toys.SEEN[split.labels[i]]), "an example of an absent class was read"
        return split.read(i)

    everything = replace(DATA, splits={"train": replace(split, read=read)})
    fit(toys.classifier(), everything, BUDGET)


class Killed(Exception):
    pass


@pytest.mark.parametrize("stop", [3, 7, 10, 27])
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    monkeypatch.setattr("reclaim.training.resume.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = fit(toys.classifier(), DATA, replace(BUDGET, optimizer="adamw")).weights
    steps: list[int] = []

    def kill() -> None:
        steps.append(1)
        if len(steps) == stop:
            raise Killed

    with pytest.raises(Killed), resuming(tmp_path):
        fit(toys.classifier(), DATA, replace(BUDGET, optimizer="adamw"), after_step=kill)
    again: list[int] = []
    with resuming(tmp_path):
        model = fit(toys.classifier(), DATA, replace(BUDGET, optimizer="adamw"), after_step=lambda: again.append(1))
    assert toys.same(model.weights, whole)
    assert len(again) == 28 - (stop - 1)
    with resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, replace(BUDGET, optimizer="adamw")).weights, whole)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    with resuming(tmp_path):
        fit(toys.classifier(), DATA, BUDGET)
    with pytest.raises(BadInput, match=r"another run \(learning_rate was 0.05, is 0.1\)"), resuming(tmp_path):
        fit(toys.classifier(), DATA, replace(BUDGET, learning_rate=0.1))


def test_two_fits_of_one_recipe_keep_their_states_apart(tmp_path: Path) -> None:
    with resuming(tmp_path):
        fit(toys.classifier(), DATA, BUDGET)
        fit(toys.classifier(), DATA, replace(BUDGET, epochs=1))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit-1", "fit-2"]
    assert len((tmp_path / "fit-1" / "log.jsonl").read_text().splitlines()) == 4


def test_a_loss_that_explodes_is_an_error_that_names_the_learning_rate() -> None:
    with pytest.raises(BadInput, match="no longer finite in epoch 1; the learning rate 1e"):
        fit(toys.classifier(), DATA, replace(BUDGET, learning_rate=1e30))


@pytest.mark.parametrize(
    "numbers", [{"epochs": -1}, {"learning_rate": 0.0}, {"batch_size": 0}, {"accumulate": 0}, {"weight_decay": -1.0}]
)
def test_impossible_budgets_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="must be"):
        Budget(**numbers)


def test_half_precision_leaves_an_ordinary_network() -> None:
    model = fit(toys.classifier(), DATA, replace(BUDGET, precision="bf16"))
    assert model.module(torch.randn(2, 3)).dtype == torch.float32
    assert "forward" not in vars(model.module)


TWO = """
import sys, torch
from reclaim.training.budget import Budget
from reclaim.training.fit import fit
from tests import toys
from accelerate import PartialState
model = toys.classifier()
model.module.drop.p = 0.0
fit(model, toys.data(), Budget(epochs=2, learning_rate=0.05, batch_size=16), mode="eval")
if PartialState().is_main_process:
    torch.save(model.weights, sys.argv[1])
"""


def test_two_processes_train_the_network_that_one_does(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    flags = "--cpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
    launch = [sys.executable, "-m", "accelerate.commands.launch", *flags.split()]
    command = [*launch, str(tmp_path / "two.py"), str(tmp_path / "two.pth")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=_here())
    assert done.returncode == 0, done.stderr[-2000:]
    model = toys.classifier()
    model.module.drop.p = 0.0
    fit(model, DATA, Budget(epochs=2, learning_rate=0.05, batch_size=16), mode="eval")
    for name, tensor in torch.load(tmp_path / "two.pth", weights_only=True).items():
        torch.testing.assert_close(tensor, model.weights[name], msg=name)


def _here() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent), "OMP_NUM_THREADS": "1"}
