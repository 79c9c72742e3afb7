"""A device whose memory holds fewer rows than a batch has."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.models.classifier import Classifier
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from reclaim.training.memory import backward_in_pieces
from reclaim.training.resume import resuming
from reclaim.training.telling import telling
from tests import toys

DATA = toys.data()
BUDGET = Budget(epochs=2, learning_rate=0.05, batch_size=16)


class Small(nn.Module):
    """A network that has room for so many rows, in the forward pass or in the backward pass."""

    def __init__(self, room: int, where: str) -> None:
        super().__init__()
        self.net, self.room, self.where = toys.Net(), room, where
        self.head = self.net.head
        self.net.drop.p = 0.0
        self.most, self.failed = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        f = self.net.first(x)
        if len(x) > self.room:
            if self.where == "forward":
                self._fail()
            f.register_hook(self._fail)  # after the head has its gradient
        self.most = max(self.most, len(x))
        return self.net.head(self.net.drop(torch.relu(self.net.norm(f))))

    def _fail(self, *_: object) -> None:
        self.failed += 1
        raise torch.OutOfMemoryError("out of memory")


def small(room: int, where: str = "forward") -> Classifier:
    torch.manual_seed(0)
    return Classifier(Small(room, where), "head", classes=toys.CLASSES)


WHERE = pytest.mark.parametrize("where", ["forward", "backward"])


@WHERE
@pytest.mark.parametrize("room", [1, 5, 8])
def test_pieces_that_fit_take_the_same_steps(
    where: str, room: int, device: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    budget = replace(BUDGET, device=str(device), weight_decay=0.1)
    whole = fit(small(16), DATA, budget, mode="eval")
    given = small(room, where)
    tuned = fit(given, DATA, budget, mode="eval")
    assert tuned.module.failed == {1: 4, 5: 2, 8: 1}[room]  # it goes on in pieces, and does not try again
    torch.testing.assert_close(tuned.weights, whole.weights, rtol=1e-4, atol=1e-5)
    assert f"{2 * (16 // 2**given.module.failed)} rows do not fit into the memory of {device}" in caplog.text


def test_what_is_logged_as_the_loss_is_the_loss_of_the_whole_batches() -> None:
    losses = []
    for model in (small(16), small(3, "backward")):
        with telling() as epochs:
            fit(model, replace(DATA, splits={"train": DATA.split("train")}), BUDGET, mode="eval")
        losses.append([one.loss for one in epochs])
    first, second = losses
    assert second == pytest.approx(first, rel=1e-4)


@pytest.mark.parametrize("room", [5, 8])
def test_batches_that_are_added_up_fit_in_pieces_too(room: int) -> None:
    budget = replace(BUDGET, accumulate=2)
    whole = fit(small(16), DATA, budget, mode="eval").weights
    torch.testing.assert_close(
        fit(small(room, "backward"), DATA, budget, mode="eval").weights, whole, rtol=1e-4, atol=1e-5
    )


def test_gradients_that_were_added_up_are_not_spoilt_in_silence() -> None:
    """The second of two batches fails half way through the backward pass."""
    model = small(16, "backward")

    def loss(batch):
        model.module.room = 16 if batch.number == 0 else 8
        return classification(batch)

    with pytest.raises(BadInput, match="does not fit"):
        fit(model, DATA, replace(BUDGET, accumulate=2), loss=loss)


@WHERE
def test_one_row_that_does_not_fit_is_an_error(where: str) -> None:
    with pytest.raises(BadInput, match="a batch of 1 rows does not fit into the memory of cpu"):
        fit(small(0, where), DATA, BUDGET, mode="eval")


def test_inputs_by_name_are_cut_by_name() -> None:
    def tuned(most: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = replace(toys.towers(), classes=toys.CLASSES)
        for batch in steps(model, toys.in_two(DATA), BUDGET, mode="eval"):
            backward_in_pieces(batch, classification, most)
            batch.step()
        return model.weights

    torch.testing.assert_close(tuned(3), tuned(16), rtol=1e-4, atol=1e-5)


@WHERE
def test_where_the_loss_is_the_callers_the_error_says_what_to_do_and_the_state_stays(
    where: str, tmp_path: Path
) -> None:
    def trained(model: Classifier, stop: int | None = None) -> Classifier:
        for batch in steps(model, DATA, BUDGET):
            model.module.room = 8 if batch.number == stop else 16
            batch.backward(classification(batch))
            batch.step()
        return model

    model = small(16, where)
    said = r"(?s)a batch of 16 rows .* Half of it, 8, with 2 batches added up .* batch_size=, accumulate="
    with pytest.raises(BadInput, match=said), resuming(tmp_path, every=0.0):
        trained(model, stop=9)
    assert not [p for p in model.module.parameters() if p.grad is not None]
    with resuming(tmp_path):
        assert toys.same(trained(small(16)).weights, trained(small(16)).weights)
    assert (tmp_path / "fit-1").is_dir()


def test_a_network_that_does_not_fit_is_one_message(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    model = toys.classifier()
    monkeypatch.setattr(nn.Module, "_apply", full)
    with pytest.raises(BadInput, match=f"the memory of {device} does not suffice: CUDA out of memory"):
        fit(model, DATA, replace(BUDGET, device=str(device)))
    assert model.last_layer.weight.device.type == "cpu"
