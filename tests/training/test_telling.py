"""A run tells what its epochs came to, and measuring changes nothing; the best epoch is kept where that is asked."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from reclaim.training.resume import resuming
from reclaim.training.telling import Epoch, best_of, telling
from tests import toys

DATA = toys.data()
BUDGET = Budget(epochs=4, learning_rate=0.05, batch_size=16)


class Unruly(toys.Net):
    """Draws random numbers and counts its calls in a buffer, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        noise = torch.rand(())
        return super().forward(x) * (1 + 0.01 * noise + 0.001 * self.calls)


class Stopped(Exception):
    pass


def by_hand(model: Classifier) -> float:
    """The seen accuracy on the validation rows of seen classes."""
    rows = predict(model, DATA, "val").seen_rows()
    found = accuracy(rows.logits, rows.known_labels, rows.seen).seen
    assert found is not None
    return found


def stopped(budget: Budget, after: int, module: nn.Module | None = None) -> None:
    for batch in steps(toys.classifier(module=module), DATA, budget):
        if batch.number == after:
            raise Stopped
        batch.backward(classification(batch))
        batch.step()


@pytest.mark.parametrize(
    ("mode", "accumulate", "precision"), [("train", 1, "no"), ("eval", 3, "no"), ("train", 3, "bf16")]
)
def test_measuring_changes_no_bit_of_what_training_ends_with(mode: str, accumulate: int, precision: str) -> None:
    budget = replace(BUDGET, accumulate=accumulate, precision=precision)
    ended = []
    for listens in (False, True):
        torch.manual_seed(0)
        model = toys.classifier(module=Unruly())
        if listens:
            with telling() as epochs:
                fit(model, DATA, budget, mode=mode)
        else:
            fit(model, DATA, budget, mode=mode)
        ended.append((model.weights, torch.rand(3)))
    first, second = ended
    assert toys.same(first[0], second[0]) and torch.equal(first[1], second[1])
    assert len(epochs) == 4 and all(one.seen_accuracy is not None for one in epochs)


def test_the_accuracy_told_is_that_of_the_weights_at_the_end_of_each_epoch() -> None:
    told = []
    for number in range(1, 4):
        model = toys.classifier()
        for batch in steps(model, DATA, BUDGET):
            batch.backward(classification(batch))
            batch.step()
            if batch.number == 7 * number - 1:
                break
        told.append(by_hand(model))
    with telling() as epochs:
        fit(toys.classifier(), DATA, BUDGET)
    assert [one.seen_accuracy for one in epochs[:3]] == pytest.approx(told)
    assert [(one.epoch, one.step) for one in epochs] == [(1, 7), (2, 14), (3, 21), (4, 28)]
    assert all(one.seconds > 0 for one in epochs) and len({one.loss for one in epochs}) == 4


def test_a_line_is_said_for_each_epoch_to_whoever_listens_and_to_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="reclaim")
    fit(toys.classifier(), DATA, BUDGET)
    assert not caplog.messages
    with telling() as epochs:
        fit(toys.classifier(), DATA, BUDGET)
    rows = int(DATA.seen[DATA.split("val").labels].sum())
    assert len(caplog.messages) == 4
    measured = f"loss {epochs[1].loss:.4g}, seen accuracy {epochs[1].seen_accuracy:.3f} on {rows} held-out rows, "
    assert caplog.messages[1].startswith(f"epoch 2 of 4: {measured}")


def test_without_held_out_rows_nothing_is_measured_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="reclaim")
    absent = DATA.split("val").rows(~DATA.seen[DATA.split("val").labels])
    for splits in ({"train": DATA.split("train")}, {"train": DATA.split("train"), "val": absent}):
        caplog.clear()
        with telling() as epochs:
            fit(toys.classifier(), replace(DATA, splits=splits), BUDGET)
        assert [one.seen_accuracy for one in epochs] == [None] * 4
        assert [text for text in caplog.messages if "is not measured" in text] == caplog.messages[:1]
        assert "seen accuracy" not in "".join(caplog.messages[1:])
        with pytest.raises(BadInput, match=r"(?s)no validation rows of seen classes.*keep='last'"):
            fit(toys.classifier(), replace(DATA, splits=splits), replace(BUDGET, keep="best"))


def falling() -> Budget:
    """Steps so large that the last epochs are not the best."""
    return replace(BUDGET, epochs=6, learning_rate=1.5)


def test_the_best_epoch_is_kept_and_of_equal_ones_the_first() -> None:
    budget = falling()
    with telling() as epochs:
        last = fit(toys.classifier(), DATA, budget).weights
    best = best_of(epochs)
    assert best is not None and best.epoch < 6  # or the test would see nothing
    kept = fit(toys.classifier(), DATA, replace(budget, keep="best"))
    assert by_hand(kept) == best.seen_accuracy and not toys.same(kept.weights, last)
    until = toys.classifier()
    for batch in steps(until, DATA, budget):
        batch.backward(classification(batch))
        batch.step()
        if batch.number == best.step - 1:
            break
    assert toys.same(kept.weights, until.weights)
    equal = [Epoch(1, 7, 1.0, 1.0, 0.5), Epoch(2, 14, 1.0, 1.0, 0.75), Epoch(3, 21, 1.0, 1.0, 0.75)]
    assert best_of(equal) is equal[1] and best_of([Epoch(1, 7, 1.0, 1.0)]) is None


@pytest.mark.parametrize(("every", "accumulate", "stop"), [(0.0, 1, 3), (0.0, 1, 14), (1e9, 3, 15), (0.0, 3, 41)])
def test_a_stopped_run_tells_the_same_and_keeps_the_same_best(
    tmp_path: Path, stop: int, every: float, accumulate: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="reclaim")
    budget = replace(falling(), keep="best", accumulate=accumulate)
    with telling() as epochs:
        whole = fit(toys.classifier(), DATA, budget).weights
    with pytest.raises(Stopped), resuming(tmp_path, every=every):
        stopped(budget, stop)
    caplog.clear()
    with telling() as again, resuming(tmp_path, every=every):
        assert toys.same(fit(toys.classifier(), DATA, budget).weights, whole)
    assert [replace(one, seconds=0.0) for one in again] == [replace(one, seconds=0.0) for one in epochs]
    if every == 0.0 and accumulate == 1:
        at = f"at epoch {stop // 7 + 1} of 6, batch {stop % 7 + 1} of 7"
        assert caplog.messages[0] == f"the run goes on where it was stopped, {at}"
    caplog.clear()
    with telling() as after, resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, budget).weights, whole)
    assert caplog.messages[0] == "all 42 batches of this run were trained before"
    assert after == again


def test_a_run_that_was_stopped_between_the_last_batch_of_an_epoch_and_its_end_measures_it(tmp_path: Path) -> None:
    with telling() as epochs:
        whole = fit(toys.classifier(), DATA, BUDGET).weights

    def interrupted() -> None:
        for batch in steps(toys.classifier(), DATA, BUDGET):
            batch.backward(classification(batch))
            batch.step()
            if batch.number == 13:
                batch.engine.summed_loss = None  # type: ignore[method-assign, assignment]

    with pytest.raises(TypeError), resuming(tmp_path, every=1e9):
        interrupted()
    with telling() as again, resuming(tmp_path):
        assert toys.same(fit(toys.classifier(), DATA, BUDGET).weights, whole)
    assert [(one.epoch, one.loss) for one in again] == [(one.epoch, one.loss) for one in epochs]


@pytest.mark.parametrize("name", names("recipes"))
def test_every_recipe_keeps_the_best_or_has_no_epochs(name: str) -> None:
    recipe, budget = find("recipes", name), replace(falling(), learning_rate=0.5)
    with telling() as epochs:
        last = recipe(toys.classifier(), DATA, budget)
    with telling() as again:
        best = recipe(toys.classifier(), DATA, replace(budget, keep="best"))
    assert [one.loss for one in again] == [one.loss for one in epochs]
    assert toys.same(best.weights, last.weights) == (best_of(epochs) in (None, *epochs[-1:]))
