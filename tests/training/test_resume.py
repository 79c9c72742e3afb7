"""A run that was stopped goes on where it was, and ends as if it had not been."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from accelerate import Accelerator

from reclaim.core.errors import BadInput
from reclaim.core.files import write_json
from reclaim.core.records import read_json
from reclaim.training import resume
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from reclaim.training.resume import RunState, resuming
from tests import toys
from tests.pretended import pretended

DATA = toys.data()
BUDGET = Budget(epochs=4, learning_rate=0.05, batch_size=16, optimizer="adamw")


def epochs(folder: Path) -> list[dict[str, float]]:
    """What the last state of the first run says of its epochs."""
    (step,) = (folder / "fit-1").glob("step-*")
    found: list[dict[str, float]] = read_json(step / "run.json")["epochs"]
    return found


class Killed(Exception):
    pass


def killed(budget: Budget, batches: int) -> int:
    """Train, but be stopped before the step of the last of so many batches; says how many there were."""
    seen = 0
    for batch in steps(toys.classifier(), DATA, budget):
        seen += 1
        batch.backward(classification(batch))
        if seen == batches:
            raise Killed
        batch.step()
    return seen


@pytest.mark.parametrize("stop", [3, 7, 10, 27])
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path: Path, stop: int) -> None:
    whole = fit(toys.classifier(), DATA, BUDGET).weights
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        killed(BUDGET, stop)
    again = toys.classifier()
    with resuming(tmp_path, every=0.0):
        numbers = []
        for batch in steps(again, DATA, BUDGET):
            numbers.append(batch.number)
            batch.backward(classification(batch))
            batch.step()
    assert toys.same(again.weights, whole)
    assert numbers == list(range(stop - 1, 28))
    with resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, BUDGET).weights, whole)
    lines = epochs(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.parametrize("stop", range(6, 18))
def test_no_gradient_is_lost_where_batches_are_added_up(tmp_path: Path, stop: int) -> None:
    """7 batches an epoch, 3 added up: epochs end between two steps."""
    budget = replace(BUDGET, accumulate=3)
    whole = fit(toys.classifier(), DATA, budget).weights
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        killed(budget, stop)
    with resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, budget).weights, whole)
    lines = epochs(tmp_path)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]


def test_what_else_changes_is_resumed_with_the_run(tmp_path: Path) -> None:
    def averaged(stop: int | None = None) -> dict[str, torch.Tensor]:
        """A running average of the weights, which the next batch's loss needs."""
        model, mean = toys.classifier(), toys.classifier().module.requires_grad_(False)
        for batch in steps(model, DATA, BUDGET, state=[mean]):
            if batch.number == stop:
                raise Killed
            mean.to(batch.y.device)
            pull = sum(
                (p - q).square().sum() for p, q in zip(model.module.parameters(), mean.parameters(), strict=True)
            )
            batch.backward(classification(batch) + 0.1 * pull)
            batch.step()
            for q, p in zip(mean.parameters(), model.module.parameters(), strict=True):
                q.lerp_(p.detach(), 0.3)
        return mean.state_dict() | {f"tuned.{name}": tensor for name, tensor in model.weights.items()}

    whole = averaged()
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        averaged(stop=11)
    with resuming(tmp_path):
        assert toys.same(averaged(), whole)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    with resuming(tmp_path):
        fit(toys.classifier(), DATA, BUDGET)
    with pytest.raises(BadInput, match=r"another run \(learning_rate was 0.05, is 0.1\)"), resuming(tmp_path):
        fit(toys.classifier(), DATA, replace(BUDGET, learning_rate=0.1))
    with pytest.raises(BadInput, match=r"another run \(absent_rows was keep, is train\)"), resuming(tmp_path):
        fit(toys.classifier(), DATA, replace(BUDGET, absent_rows="train"))
    with pytest.raises(BadInput, match=r"another run \(span was None, is \[0, 5\]\)"), resuming(tmp_path):
        list(steps(toys.classifier(), DATA, BUDGET, span=range(5)))


def test_a_state_from_before_a_field_of_the_budget_was_there_is_resumed(tmp_path: Path) -> None:
    with resuming(tmp_path):
        whole = fit(toys.classifier(), DATA, BUDGET).weights
    path = next((tmp_path / "fit-1").glob("step-*")) / "run.json"
    record = read_json(path)
    write_json(
        path, record | {"run": {k: v for k, v in record["run"].items() if k not in ("steps", "absent_rows", "device")}}
    )
    with resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, BUDGET).weights, whole)


def test_a_run_on_a_card_is_resumed_on_a_card_and_nowhere_else(tmp_path: Path) -> None:
    with pretended(cards=2):
        on_card, other = (replace(BUDGET, device=name) for name in ("cuda:0", "cuda:1"))
        whole = fit(toys.classifier(), DATA, on_card).weights
        with pytest.raises(Killed), resuming(tmp_path, every=0.0):
            killed(on_card, 10)
        with (
            pytest.raises(BadInput, match=r"another run \(device was cuda, is cpu\)"),
            resuming(tmp_path, every=0.0),
        ):
            fit(toys.classifier(), DATA, replace(BUDGET, device="cpu"))
        with resuming(tmp_path):
            assert toys.same(fit(toys.classifier(), DATA, other).weights, whole)


def test_two_fits_of_one_recipe_keep_their_states_apart(tmp_path: Path) -> None:
    with resuming(tmp_path):
        fit(toys.classifier(), DATA, BUDGET)
        fit(toys.classifier(), DATA, replace(BUDGET, epochs=1))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit-1", "fit-2"]
    assert len(epochs(tmp_path)) == 4


def test_a_damaged_state_is_refused_and_named(tmp_path: Path) -> None:
    """Any file of it changed, cut off or lost; of an earlier version, without checksums, its weights cut off."""
    with resuming(tmp_path):
        whole = fit(toys.classifier(), DATA, BUDGET).weights
    (step,) = (tmp_path / "fit-1").glob("step-*")
    record, files = read_json(step / "run.json"), [file for file in step.iterdir() if file.name != "run.json"]
    assert len(files) > 2
    for file in files:
        content = file.read_bytes()
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for damaged in (changed, content[:middle], None):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            with (
                pytest.raises(BadInput, match=rf"the state in .*{step.name} is not as it was written"),
                resuming(tmp_path),
            ):
                fit(toys.classifier(), DATA, BUDGET)
        file.write_bytes(content)
    write_json(step / "run.json", {key: value for key, value in record.items() if key != "files"})
    with resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, BUDGET).weights, whole)
    for file in (step / "model.safetensors", step / "optimizer.bin"):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(BadInput, match=rf"the state in .*{step.name} is damaged"), resuming(tmp_path):
            fit(toys.classifier(), DATA, BUDGET)
        file.write_bytes(content)
    for lie in ([], {"run": [], "step": 3}, {"run": record["run"], "step": "3"}, {"run": record["run"], "step": -1}):
        write_json(step / "run.json", lie)
        with pytest.raises(BadInput, match=r"run\.json holds something else than it should"), resuming(tmp_path):
            fit(toys.classifier(), DATA, BUDGET)


@pytest.mark.parametrize(
    ("every", "passing", "within"),
    [(50.0, 10.0, [6]), (50.0, 50.0, [2, 4, 6]), (9.0, 10.0, [1, 2, 3, 4, 5, 6]), (None, 50.0, [3, 6])],
)
def test_within_an_epoch_a_state_is_written_once_the_interval_is_over_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float | None, passing: float, within: list[int]
) -> None:
    """Each batch lets the clock go on; by default two minutes lie between two states."""
    clock, saved = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    written = RunState.save

    def save(state: RunState) -> None:
        saved.append(state.number)
        written(state)

    monkeypatch.setattr(RunState, "save", save)
    with resuming(tmp_path) if every is None else resuming(tmp_path, every=every):
        for batch in steps(toys.classifier(), DATA, replace(BUDGET, epochs=1)):
            batch.backward(classification(batch))
            clock[0] += passing
            batch.step()
    assert [number for number in saved if number < 7] == within


def test_of_a_damaged_state_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        killed(BUDGET, 3)
    for reason, told in ((RuntimeError("the lid is off\nand more"), "the lid is off"), (KeyError(), "KeyError")):

        def broken(*_: object, reason: Exception = reason) -> None:
            raise reason

        monkeypatch.setattr(Accelerator, "load_state", broken)
        with pytest.raises(BadInput, match=rf"is damaged: {told}\.\n"), resuming(tmp_path):
            fit(toys.classifier(), DATA, BUDGET)


def test_what_a_killed_run_left_half_written_is_in_no_later_state(tmp_path: Path) -> None:
    """Nor does an empty folder in a state keep anyone from resuming it."""
    whole = fit(toys.classifier(), DATA, BUDGET).weights
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        killed(BUDGET, 3)
    folder = tmp_path / "fit-1"
    (step,) = folder.glob("step-*")
    (step / "empty").mkdir()
    (folder / "writing").mkdir()
    (folder / "writing" / "half").write_text("half")
    with resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, BUDGET).weights, whole)
    assert sorted(path.name for path in folder.iterdir()) == ["step-28"]
    assert not list(folder.rglob("half"))


@pytest.mark.parametrize("passed", [0.0, 9.0])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_of_several_processes_the_first_ones_clock_decides_and_is_asked_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: float, device: str
) -> None:
    asked, saved, clock = [], [], [0.0]

    def answer_of_the_first(own: torch.Tensor) -> torch.Tensor:
        asked.append((state.number, own.device.type, None if own.is_meta else bool(own)))
        return torch.tensor(state.number > 20)

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(resume, "broadcast", answer_of_the_first)
    monkeypatch.setattr(RunState, "save", lambda state: saved.append(state.number))
    with resuming(tmp_path, every=5.0):
        two = SimpleNamespace(num_processes=2, device=torch.device(device))
        state = RunState(cast(Any, SimpleNamespace(accelerator=two)), {}, 0, [])
    clock[0] = passed
    for _ in range(40):
        state.advance(whole=True)
    own = None if device == "meta" else passed > 5
    assert asked == [(16, device, own), (32, device, own)]
    assert saved == [32]


def timed(clock: list[float], stop: int | None = None) -> list[float]:
    """Train to the end, or be stopped before a batch, each of which takes three seconds; returns their losses."""
    losses = []
    for batch in steps(toys.classifier(), DATA, BUDGET):
        if batch.number == stop:
            break
        loss = classification(batch)
        losses.append(float(loss.detach()))
        batch.backward(loss)
        clock[0] += 3.0
        batch.step()
    return losses


def begun(folder: Path) -> dict[str, Any]:
    """What the last state of the first run says of the epoch that is not over."""
    found: dict[str, Any] = read_json(max((folder / "fit-1").glob("step-*/run.json")))["begun"]
    return found


def test_a_state_tells_of_the_epoch_that_is_not_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its losses, batches and seconds are counted from its beginning, not from the run's."""
    clock = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with resuming(tmp_path, every=0.0):
        losses = timed(clock, stop=10)
    assert begun(tmp_path) == {"loss": pytest.approx(sum(losses[7:])), "batches": 3, "seconds": 9.0}
    (first,) = epochs(tmp_path)
    assert first["loss"] == pytest.approx(sum(losses[:7]) / 7) and first["seconds"] == 21.0


def test_seconds_and_losses_go_on_where_a_run_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with resuming(tmp_path, every=0.0):
        losses = timed(clock, stop=10)
    clock[0] = 1000.0  # another machine, later
    with resuming(tmp_path, every=0.0):
        losses += timed(clock)
    means = [sum(losses[i : i + 7]) / 7 for i in range(0, 28, 7)]
    assert [line["loss"] for line in epochs(tmp_path)] == pytest.approx(means)
    assert [line["seconds"] for line in epochs(tmp_path)] == [21.0] * 4


def test_a_state_that_says_nothing_of_its_epoch_counts_from_where_it_is(tmp_path: Path) -> None:
    """So did those of version 0.1."""
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        killed(BUDGET, 11)
    (record,) = (tmp_path / "fit-1").glob("step-*/run.json")
    written = read_json(record)
    write_json(record, {key: value for key, value in written.items() if key not in ("begun", "epochs")})
    with resuming(tmp_path, every=0.0):
        start = time.monotonic()
        losses = timed([0.0])
        took = time.monotonic() - start
    lines = epochs(tmp_path)
    assert [line["epoch"] for line in lines] == [2, 3, 4]
    assert lines[0]["loss"] == pytest.approx(sum(losses[:4]) / 4) and lines[0]["seconds"] <= round(took, 3) + 0.001


def test_a_loss_that_is_not_finite_is_written_as_none(tmp_path: Path) -> None:
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        for batch in steps(toys.classifier(), DATA, BUDGET):
            if batch.number == 2:
                raise Killed
            batch.backward(classification(batch) * float("nan") if batch.number else classification(batch))
            batch.step()
    assert begun(tmp_path)["loss"] is None and begun(tmp_path)["batches"] == 2
    with resuming(tmp_path, every=0.0), pytest.raises(BadInput, match="finite"):
        fit(toys.classifier(), DATA, BUDGET)


def test_an_epoch_that_ends_while_gradients_are_added_up_is_saved_with_the_next_step(tmp_path: Path) -> None:
    """7 batches an epoch, 3 added up: the first epoch ends at batch 7, the next whole one is 9."""
    saved: list[tuple[str, int]] = []
    with resuming(tmp_path, every=1e9):
        for batch in steps(toys.classifier(), DATA, replace(BUDGET, accumulate=3)):
            batch.backward(classification(batch))
            batch.step()
            saved += [(path.name, batch.number) for path in (tmp_path / "fit-1").glob("step-*")]
    names = list(dict.fromkeys(name for name, _ in saved))
    assert names == ["step-9", "step-15", "step-21"]


def test_a_state_that_is_written_twice_is_there_once(tmp_path: Path) -> None:
    with resuming(tmp_path, every=0.0):
        engine = SimpleNamespace(accelerator=Accelerator(cpu=True), batches=0, summed_loss=lambda: 0.0)
        state = RunState(cast(Any, engine), {"device": "cpu"}, 3, [])
        assert not state.resumed
        state.save()
        state.save()
        assert [path.name for path in (tmp_path / "fit-1").iterdir()] == ["step-3"]
        state.number = 10
        state.save()
        assert [path.name for path in (tmp_path / "fit-1").iterdir()] == ["step-10"]


def test_the_last_state_is_the_one_of_the_most_batches(tmp_path: Path) -> None:
    """A run that was killed before it removed the last but one leaves two."""
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        killed(BUDGET, 10)
    (nine,) = (tmp_path / "fit-1").glob("step-9")
    shutil.copytree(nine, tmp_path / "kept")
    with pytest.raises(Killed), resuming(tmp_path, every=0.0):
        killed(BUDGET, 2)  # the next batch is the last
    assert [path.name for path in (tmp_path / "fit-1").glob("step-*")] == ["step-10"]
    shutil.move(tmp_path / "kept", nine)
    with resuming(tmp_path, every=0.0):
        assert next(iter(steps(toys.classifier(), DATA, BUDGET))).number == 10
