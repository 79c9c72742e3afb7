"""Pseudo cross-validation, every field of what it returns, on networks whose offsets are known."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.repairs.alpha import ChosenAlpha
from reclaim.repairs.choices import BY_RETRAINING, Choices
from reclaim.repairs.plan import Plan
from reclaim.repairs.pseudo_cross_validation import (
    check_retrain,
    divide_classes,
    plan_by_retraining,
    pseudo_cross_validation,
)
from reclaim.repairs.rows import Part
from tests.repairs.test_pseudo_cross_validation import DATA, SEEN, adding, balanced, following, of_classes, rows

BOTH = replace(DATA, splits=DATA.splits | {"val": rows(torch.arange(33) % 11)})


def growing(*amounts: float):
    """A fine-tuning that adds another constant each time."""
    left = list(amounts)
    return lambda model, data: adding(left.pop(0))(model, data)


# --- what is returned


def test_without_arguments_it_is_what_the_documentation_says() -> None:
    law = following(lambda size: 1.0 + size)
    plain = pseudo_cross_validation(balanced(), DATA, law)
    said = {"runs": 3, "shares": (0.5,), "aggregate": "mean", "cheap": False, "criterion": "overall"}
    assert plain == pseudo_cross_validation(balanced(), DATA, law, None, 0, Inference(), **said)
    for name, value in {"runs": 4, "shares": (0.7,), "aggregate": "median"}.items():
        assert pseudo_cross_validation(balanced(), DATA, law, **{name: value}) != plain, name
    assert plain.guarantee is None


@pytest.mark.parametrize("aggregate", ["mean", "median"])
def test_every_field_of_one_share_by_hand(aggregate) -> None:
    amounts = (1.0, 2.0, 6.0, 9.0)
    made = pseudo_cross_validation(balanced(), BOTH, growing(*amounts), runs=4, aggregate=aggregate)
    middle = {"mean": np.mean, "median": np.median}[aggregate](amounts)
    assert made.offset == pytest.approx(middle, abs=1e-4)
    assert [run["classes"] for run in made.details["runs"]] == [4] * 4
    assert [run["offset"] for run in made.details["runs"]] == pytest.approx(amounts, abs=1e-4)
    assert made.details["spread"] == pytest.approx(np.std(amounts, ddof=1), abs=1e-4) and made.details["ratio"] == 1.0
    assert made.evidence == {"train": 80}
    assert made.reason == (
        f"it is the {aggregate} of what is best after retraining on 4 of 8 seen classes, 4 times, with the others as "
        "absent ones"
    )


def test_every_field_of_two_shares_by_hand() -> None:
    amounts = (1.0, 2.0, 6.0, 9.0)
    made = pseudo_cross_validation(balanced(), DATA, growing(*amounts), runs=2, shares=(0.75, 0.25))
    slope = (7.5 - 1.5) / (log(6) - log(2))
    assert made.offset == pytest.approx(1.5 + slope * (log(8) - log(2)), abs=1e-3)
    assert [run["classes"] for run in made.details["runs"]] == [2, 2, 6, 6]
    squares = 2 * 0.5**2 + 2 * 1.5**2
    assert made.details["spread"] == pytest.approx((squares / 2) ** 0.5, abs=1e-4)
    assert made.reason.endswith(
        "after retraining on 2 or 6 of 8 seen classes, 4 times, with the others as absent ones, followed to 8"
    )


def test_one_run_has_no_spread() -> None:
    assert pseudo_cross_validation(balanced(), DATA, adding(2.0), runs=1).details["spread"] is None
    two = pseudo_cross_validation(balanced(), DATA, growing(1.0, 2.0), runs=1, shares=(0.25, 0.5))
    assert two.details["spread"] is None and len(two.details["runs"]) == 2


@pytest.mark.parametrize(
    ("share", "num_classes", "size"), [(0.01, 8, 2), (0.5, 8, 4), (0.8, 8, 6), (0.99, 8, 7), (0.5, 3, 2), (0.9, 3, 2)]
)
def test_at_least_two_classes_are_retrained_on_and_one_is_left(share: float, num_classes: int, size: int) -> None:
    data = of_classes(*range(num_classes))
    made = pseudo_cross_validation(balanced(), data, adding(1.0), runs=1, shares=(share,))
    assert [run["classes"] for run in made.details["runs"]] == [size]


def test_shares_outside_0_and_1_are_refused() -> None:
    for shares in ((0.0,), (1.0,), (0.5, 1.0), (0.0, 0.5), (-0.1,), ()):
        with pytest.raises(BadInput, match="between 0 and 1"):
            pseudo_cross_validation(balanced(), DATA, adding(1.0), shares=shares)


# --- what it divides


def test_a_fifth_of_each_retrained_class_and_all_others_are_judged() -> None:
    numbered = replace(DATA.split("train"), read=lambda i: i)
    data, chosen = replace(BOTH, splits={"train": numbered}), torch.tensor([1, 4, 6])
    found = []
    for _ in range(2):
        torch.manual_seed(len(found))  # of which nothing depends
        given, judged = divide_classes(data, chosen, torch.Generator().manual_seed(3))
        assert list(given.splits) == ["train"] and list(judged.splits) == ["judged"]
        assert given.seen.tolist() == judged.seen.tolist() == [i in (1, 4, 6) for i in range(11)]
        ours, theirs = (
            [part.read(i) for i in range(len(part))] for part in (given.split("train"), judged.split("judged"))
        )
        assert sorted(ours + theirs) == list(range(80))
        assert [sum(i % 8 == c for i in ours) for c in range(8)] == [0, 8, 0, 0, 8, 0, 8, 0]
        found.append(ours)
    assert found[0] == found[1]
    other = divide_classes(data, chosen, torch.Generator().manual_seed(4))[0].split("train")
    assert [other.read(i) for i in range(len(other))] != found[0]


def test_of_groups_a_fifth_is_judged_and_what_it_holds_of_other_classes() -> None:
    groups = torch.arange(80) // 2 % 12  # each of two classes, of which one may be retrained on
    data = replace(DATA, splits={"train": replace(DATA.split("train"), read=lambda i: i, groups=groups)})
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(found))
        given, judged = divide_classes(data, torch.tensor([1, 4, 6]), torch.Generator().manual_seed(seed))
        ours, theirs = (
            [part.read(i) for i in range(len(part))] for part in (given.split("train"), judged.split("judged"))
        )
        inside = {int(groups[i]) for i in range(80) if i % 8 in (1, 4, 6)}
        trained = {int(groups[i]) for i in ours}
        assert len(trained) == len(inside) - -(-len(inside) // 5)
        assert ours == [i for i in range(80) if i % 8 in (1, 4, 6) and int(groups[i]) in trained]
        assert theirs == [i for i in range(80) if int(groups[i]) not in trained]
        found.append(ours)
    assert found[0] == found[1] != found[2]


# --- the cheap form


def test_the_cheap_form_by_hand() -> None:
    """Of logits of 0 and 3, with a on seen ones: the gap without the own class is a + log 7 - log 3."""
    amounts, whole = (1.0, 2.0, 1.5), 4.0
    given = []

    def retrain(model: Classifier, data: Data) -> Classifier:
        given.append(sorted(data.splits))
        return adding((*amounts, 3.0)[len(given) - 1])(model, data)

    after = adding(whole)(balanced(), BOTH)
    for data, evidence in ((BOTH, {"train": 80, "val": 24}), (DATA, {"train": 80})):
        given.clear()
        made = pseudo_cross_validation(balanced(), data, retrain, after, cheap=True)
        ratio = (whole + log(7 / 3)) / (3.0 + log(7 / 3))
        assert made.details["ratio"] == pytest.approx(ratio, rel=1e-4)
        assert made.offset == pytest.approx(1.5 * ratio, rel=1e-3)
        assert [run["offset"] for run in made.details["runs"]] == pytest.approx(amounts, abs=1e-4)
        assert made.evidence == evidence and given == [["train"]] * 4
        assert made.reason.endswith(f"as absent ones, times {ratio:.2f} because only heads were retrained")


def test_the_gaps_are_those_of_held_out_rows_where_there_are_some() -> None:
    class Doubles(torch.nn.Module):
        """Logits of rows whose own class stands 3 above are other ones than of rows where it stands 5 above."""

        def __init__(self) -> None:
            super().__init__()
            self.head = balanced().module[0]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x + 2.0 * (x.amax(dim=1, keepdim=True) > 4) * SEEN)

    five = rows(torch.arange(33) % 11)
    held_out = replace(DATA, splits=DATA.splits | {"val": replace(five, read=lambda i: five.read(i) * 5 / 3)})
    after = Classifier(Doubles().eval(), "head", classes=DATA.classes)
    plain, other = (
        pseudo_cross_validation(balanced(), data, adding(0.0), after, cheap=True).details["ratio"]
        for data in (DATA, held_out)
    )
    assert plain == pytest.approx(1.0, abs=1e-4)  # both gaps are log 7 - log 3, below 1
    assert other == pytest.approx((2 + log(7 / 3)) / log(7 / 3), rel=1e-3)


@pytest.mark.parametrize(("retrained", "tuned"), [(-4.0, 4.0), (4.0, -4.0), (-4.0, -4.0)])
def test_gaps_below_nought_have_no_ratio(retrained: float, tuned: float) -> None:
    after = adding(tuned)(balanced(), DATA)
    shown = tuple(f"{amount + log(7 / 3):.2f}" for amount in (tuned, retrained))
    message = rf"by {shown[0]} in the fine-tuned model and by {shown[1]} with a retrained head"
    with pytest.raises(BadInput, match=message):
        pseudo_cross_validation(balanced(), DATA, adding(retrained), after, cheap=True)


@pytest.mark.parametrize("cheap", [False, True])
def test_networks_are_run_as_it_is_told(cheap: bool) -> None:
    sizes: dict[str, set[int]] = {"before": set(), "after": set()}
    pair = {name: balanced() for name in sizes}
    for name, model in pair.items():
        model.last_layer.register_forward_pre_hook(lambda _, inputs, name=name: sizes[name].add(len(inputs[0])))
    pseudo_cross_validation(
        pair["before"], BOTH, adding(1.0), pair["after"], 0, Inference(batch_size=13, device="cpu"), cheap=cheap
    )
    assert max(sizes["before"]) == 13 and (max(sizes["after"], default=0) == 13) == cheap


# --- the plan


@pytest.mark.parametrize("mix", ["auto", 1.0])
@pytest.mark.parametrize("source", ["toy", ""])
def test_every_field_of_the_plan(mix, source: str) -> None:
    data = replace(DATA, splits=DATA.splits | {"val": rows(torch.arange(11))}, source=source)
    held_out = Part(data, data.split("val").rows(torch.arange(8)), "mix rows")
    after = adding(4.0)(balanced(), data)
    numbers = {"runs": 2, "cheap": True}
    choices = Choices(select=BY_RETRAINING, mix=mix, numbers=numbers, seed=3)
    made = plan_by_retraining(balanced(), after, held_out, adding(2.0), choices)
    own = replace(data, splits=data.splits | {"val": held_out.split})
    chosen = pseudo_cross_validation(balanced(), own, adding(2.0), after, 3, **numbers)
    assert chosen.evidence == {"train": 80, "val": 8}
    why = "as given" if mix == 1 else "pseudo cross-validation chooses an offset for the fine-tuned model"
    assert made == Plan(
        ChosenAlpha(1.0, why),
        LogitOffset(
            chosen.offset,
            Fitted(tuple(SEEN.tolist()), data.classes, "toy:train" if source else "", chosen.details),
            selector="pseudo-cross-validation",
            reason=chosen.reason,
            evidence=chosen.evidence,
        ),
    )


def test_a_plan_without_choices_is_that_of_the_defaults() -> None:
    held_out = Part(BOTH, BOTH.split("val").rows(torch.arange(8)), "mix rows")
    made = plan_by_retraining(balanced(), balanced(), held_out, adding(2.0))
    assert made.offset.offset == pytest.approx(2.0, abs=1e-4) and len(made.offset.fitted.details["runs"]) == 3


def test_a_recipe_is_for_retraining_alone() -> None:
    check_retrain(Choices(), None)
    check_retrain(Choices(select=BY_RETRAINING), None)
    check_retrain(Choices(select=BY_RETRAINING), adding(1.0))
    with pytest.raises(BadInput, match="the selector 'gap-matching' retrains nothing"):
        check_retrain(Choices(select="gap-matching"), adding(1.0))
