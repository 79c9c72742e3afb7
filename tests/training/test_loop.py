"""The loop: how it counts, what it puts back however it is left, and what a batch knows."""

from collections.abc import Iterator
from dataclasses import replace
from math import cos, pi

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.training.batch import Batch
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from reclaim.training.trained import Part
from tests import toys
from tests.pretended import pretended

DATA = toys.data()
BUDGET = Budget(epochs=4, learning_rate=0.05, batch_size=16)


def trained(loop: Iterator[Batch]) -> Iterator[Batch]:
    """The loop, with the two events of plain training before each batch is handed on."""
    for batch in loop:
        batch.backward(classification(batch))
        batch.step()
        yield batch


def rates(loop: Iterator[Batch]) -> list[float]:
    return [batch.engine.optimizer.param_groups[0]["lr"] for batch in trained(loop)]


def test_there_is_a_batch_for_every_full_batch_of_every_epoch() -> None:
    batches = list(trained(steps(toys.classifier(), DATA, BUDGET)))
    assert [batch.number for batch in batches] == list(range(4 * (120 // 16)))
    assert {batch.total for batch in batches} == {28} and all(len(batch.rows) == 16 for batch in batches)
    first = torch.cat([batch.rows for batch in batches[:7]])
    assert len(first.unique()) == 112  # every row at most once per epoch


def test_the_learning_rate_falls_along_one_cosine() -> None:
    expected = [0.05 * (1 + cos(pi * step / 28)) / 2 for step in range(28)]
    assert rates(steps(toys.classifier(), DATA, BUDGET)) == pytest.approx(expected)


def test_a_budget_in_steps_ends_within_an_epoch() -> None:
    batches = list(trained(steps(toys.classifier(), DATA, replace(BUDGET, steps=10))))
    assert len(batches) == 10 and batches[-1].total == 10
    assert toys.same(
        fit(toys.classifier(), DATA, replace(BUDGET, steps=28)).weights, fit(toys.classifier(), DATA, BUDGET).weights
    )


def test_a_budget_of_no_steps_changes_nothing() -> None:
    assert toys.same(fit(toys.classifier(), DATA, replace(BUDGET, steps=0)).weights, toys.classifier().weights)


def test_spans_of_one_budget_share_its_cosine() -> None:
    budget = replace(BUDGET, steps=12)
    whole = rates(steps(toys.classifier(), DATA, budget))
    parts = [rates(steps(toys.classifier(), DATA, budget, span=range(i, i + 4))) for i in (0, 4, 8)]
    assert [rate for part in parts for rate in part] == whole


def test_accumulating_over_batches_is_one_larger_batch() -> None:
    def run(batch_size: int, accumulate: int) -> list[torch.Tensor]:
        model = toys.classifier()
        model.module.drop.p = 0.0
        budget = Budget(epochs=1, batch_size=batch_size, accumulate=accumulate, learning_rate=0.05, weight_decay=0.0)
        weights: list[torch.Tensor] = []
        for batch in steps(model, DATA, budget, mode="eval"):
            batch.backward(classification(batch))
            if batch.step():
                weights.append(model.weights["first.weight"].to("cpu", copy=True))
        return weights

    small, large = run(12, 5), run(60, 1)
    assert len(small) == len(large) == 2
    start = toys.classifier().weights["first.weight"]
    torch.testing.assert_close((small[0] - start) / (1 + torch.cos(torch.tensor(0.4 * torch.pi))) * 2, large[0] - start)


def test_gradients_are_there_when_a_step_is_and_are_the_mean_over_what_is_added_up() -> None:
    def gradients(batch_size: int, accumulate: int) -> list[dict[str, torch.Tensor]]:
        model = toys.classifier()
        found = []
        budget = Budget(epochs=1, batch_size=batch_size, accumulate=accumulate)
        for batch in steps(model, DATA, budget, mode="eval"):
            model.module.drop.p = 0.0
            batch.backward(classification(batch))
            found.append({name: gradient.clone() for name, gradient in batch.gradients.items()})
            if batch.whole:
                break
        return found

    small, large = gradients(20, 3), gradients(60, 1)
    assert small[0] == small[1] == {}
    assert list(small[2]) == list(large[0]) == [name for name, _ in toys.Net().named_parameters()]
    for name, gradient in large[0].items():
        torch.testing.assert_close(small[2][name], gradient)


def test_a_gradient_that_is_changed_in_place_is_the_one_that_is_taken() -> None:
    model, start = toys.classifier(), toys.classifier().weights
    for batch in steps(model, DATA, replace(BUDGET, weight_decay=0.0), mode="eval"):
        batch.backward(classification(batch))
        for name, gradient in batch.gradients.items():
            if name != "first.weight":
                gradient.zero_()
        batch.step()
    assert {n for n, tensor in model.weights.items() if not torch.equal(tensor, start[n])} == {"first.weight"}


def test_gradients_can_be_read_after_the_step_and_start_anew_with_the_next_batch() -> None:
    model = toys.classifier()
    for batch in steps(model, DATA, BUDGET):
        assert batch.gradients == {}
        batch.backward(classification(batch))
        before = toys.copied(batch.gradients)
        if batch.number % 3:  # a batch without a step leaves nothing to the next
            batch.step()
        assert before and toys.same(toys.copied(batch.gradients), before)


def test_only_the_rows_named_of_a_parameter_are_trained() -> None:
    model = toys.classifier()
    start = toys.copied(model.weights)
    first = torch.arange(11) < 4
    fit(model, DATA, BUDGET, params=[Part(model.module.first.weight, first)])
    moved = (model.weights["first.weight"] != start["first.weight"]).all(dim=1)
    assert torch.equal(moved, first) and torch.equal(model.weights["first.bias"], start["first.bias"])


class Stop(Exception):
    pass


def left(how: str, budget: Budget, memory: dict[str, int]) -> torch.nn.Module:
    """The network of a loop that was left in the third batch, between gradients and step; notes where it lay."""
    model = toys.classifier()
    model.module.train().drop.eval()
    model.module.norm.weight.requires_grad_(False)
    memory.update((name, tensor.data_ptr()) for name, tensor in model.weights.items())
    try:
        for batch in steps(model, DATA, budget, params=[model.module.first.weight]):
            batch.backward(classification(batch))
            if batch.number == 2:
                if how == "break":
                    break
                raise {"raise": Stop, "interrupt": KeyboardInterrupt}[how]
            batch.step()
    except (Stop, KeyboardInterrupt):
        pass
    return model.module


@pytest.mark.parametrize("how", ["break", "raise", "interrupt"])
@pytest.mark.parametrize(("where", "precision"), [("cpu", "no"), ("cpu", "bf16"), ("card", "no")])
def test_however_the_loop_is_left_the_network_is_an_ordinary_one(
    how: str, where: str, precision: str, device: torch.device
) -> None:
    torch.manual_seed(5)
    toys.Net()
    expected = torch.rand(3)
    torch.manual_seed(5)
    toys.Net()
    state = torch.get_rng_state()
    kept = toys.copied(toys.classifier().weights)
    torch.set_rng_state(state)
    memory: dict[str, int] = {}
    where = str(device) if where == "card" else where
    net = left(
        how, replace(BUDGET, precision=precision, device=where), memory
    )  # makes a classifier, whose seed is another
    torch.set_rng_state(state)
    assert torch.equal(torch.rand(3), expected)
    assert {name for name, part in net.named_modules() if not part.training} == {"drop"}
    assert {name: tensor.data_ptr() for name, tensor in net.state_dict().items()} == memory
    assert {n: p.requires_grad for n, p in net.named_parameters()} == {
        n: n != "norm.weight" for n, _ in net.named_parameters()
    }
    assert all(p.grad is None for p in net.parameters())
    assert net(torch.randn(2, 3)).dtype == torch.float32
    assert not {"forward", "_original_forward", "_is_accelerate_prepared"} & vars(net).keys()
    assert {n for n, t in net.state_dict().items() if not torch.equal(t, kept[n])} - set(statistics()) == {
        "first.weight"
    }


def statistics() -> list[str]:
    return [name for name in toys.Net().state_dict() if "running" in name or "num_batches" in name]


@pytest.mark.parametrize("how", ["break", "raise", "interrupt"])
def test_however_the_loop_is_left_the_callers_random_numbers_go_on(how: str) -> None:
    model = toys.classifier()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    try:
        for batch in steps(model, DATA, BUDGET):
            torch.rand(7)
            if batch.number == 2:
                if how == "break":
                    break
                raise {"raise": Stop, "interrupt": KeyboardInterrupt}[how]
    except (Stop, KeyboardInterrupt):
        pass
    assert torch.equal(torch.rand(3), expected)


def test_random_numbers_between_batches_depend_on_the_seed_and_the_batch_alone() -> None:
    def drawn(budget: Budget, skip: int = 0) -> list[torch.Tensor]:
        found = []
        for batch in steps(toys.classifier(), DATA, budget):
            torch.rand(skip)
            found.append(torch.rand(2))
            batch.backward(classification(batch))
        return found

    torch.rand(3)
    once, again, other = drawn(BUDGET), drawn(BUDGET), drawn(replace(BUDGET, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once, other, strict=True))


def test_gradients_that_the_network_came_with_are_not_trained_on() -> None:
    model = toys.classifier()
    for parameter in model.module.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    assert toys.same(fit(model, DATA, BUDGET).weights, fit(toys.classifier(), DATA, BUDGET).weights)


def test_a_second_run_of_the_same_network_has_its_own_precision() -> None:
    def twice(first: str) -> dict[str, torch.Tensor]:
        model = toys.classifier()
        fit(model, DATA, replace(BUDGET, precision=first, learning_rate=1e-12, weight_decay=0.0), mode="eval")
        seen = []
        for batch in steps(model, DATA, replace(BUDGET, precision="bf16")):
            seen.append(torch.is_autocast_enabled("cpu"))
            batch.backward(classification(batch))
            batch.step()
        return model.weights

    torch.testing.assert_close(twice("bf16"), twice("no"))


def test_an_order_whose_epochs_differ_in_length_is_refused() -> None:
    with pytest.raises(BadInput, match="the order of epoch 2 has 61 rows, that of the first 60"):
        fit_in_order(lambda epoch, random: torch.arange(60 + epoch))


def fit_in_order(order) -> list[list[int]]:
    return [batch.rows.tolist() for batch in trained(steps(toys.classifier(), DATA, BUDGET, order=order))]


def test_nothing_to_train_on_is_an_error() -> None:
    nothing = replace(DATA, splits={"train": DATA.split("train").rows(torch.zeros(120, dtype=torch.bool))})
    with pytest.raises(BadInput, match="the training split of toy has no row of a seen class"):
        fit(toys.classifier(), nothing, BUDGET)


def test_loops_may_stand_inside_each_other() -> None:
    """The inner one is a run of its own; the outer one goes on as if it had not been."""
    alone = fit(toys.classifier(), DATA, replace(BUDGET, precision="bf16")).weights
    inner, model = toys.classifier(1), toys.classifier()
    for batch in steps(model, DATA, replace(BUDGET, precision="bf16")):
        if batch.number == 3:
            fit(inner, DATA, replace(BUDGET, accumulate=2, steps=3))
        batch.backward(classification(batch))
        batch.step()
    torch.testing.assert_close(model.weights, alone, rtol=0, atol=0)


def test_processes_that_decode_change_nothing_and_what_is_wrong_there_is_one_message() -> None:
    weights = [fit(toys.classifier(), DATA, replace(BUDGET, workers=workers)).weights for workers in (0, 2)]
    assert toys.same(*weights)
    split = DATA.split("train")

    def read(i: int):
        if i == 7:
            raise BadInput("row 7 cannot be read.")
        return split.read(i)

    broken = replace(DATA, splits={"train": replace(split, read=read)})
    with pytest.raises(BadInput, match=r"^row 7 cannot be read\.$"):
        fit(toys.classifier(), broken, replace(BUDGET, workers=2))


def test_auto_is_the_card_on_which_the_network_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECLAIM_DEVICE")
    with pretended(cards=2):
        model = toys.classifier()
        model.module.to("cuda:1")
        for batch in steps(model, DATA, replace(BUDGET, steps=1)):
            assert str(batch.y.device) == "cuda:1"
