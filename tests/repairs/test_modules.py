"""A repair of plain modules, by a loader or lists, is the repair of the same classifiers by the same rows."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from reclaim.core.errors import BadInput, BadKind
from reclaim.data.records import Data
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from reclaim.repairs.rows import MoreEvidence
from tests import toys
from tests.repairs.conftest import TARGET

CHOICES = Choices(select="gap-matching")


def tensors(data: Data, name: str = "test") -> tuple[Tensor, Tensor]:
    """The rows of a split: inputs [N, …] and labels [N]."""
    split = data.split(name)
    return torch.from_numpy(np.stack([split.read(i) for i in range(len(split))])), split.labels


ROWS = tensors(TARGET)


@pytest.fixture(scope="module")
def expected(pair) -> Any:
    """The repair of the classifiers, by the same rows as a single split."""
    data = Data(TARGET.classes, {"all": TARGET.split("test")}, toys.SEEN, "toy")
    return repair(*pair, data, CHOICES)


@pytest.mark.parametrize("batch_size", [32, 7])
@pytest.mark.parametrize("seen", [[0, 2, 3], ["0", "2", "3"], toys.SEEN.nonzero().squeeze(1)], ids=str)
def test_modules_and_a_loader_give_the_repaired_module(pair, expected, seen, batch_size: int) -> None:
    modules = [model.copy().module for model in pair]
    kept = [toys.copied(module.state_dict()) for module in modules]
    done = repair(*modules, DataLoader(TensorDataset(*ROWS), batch_size=batch_size), CHOICES, seen=seen)
    assert type(done.model) is toys.Net and not done.model.training
    assert done.alpha == expected.alpha and done.offset.offset == pytest.approx(expected.offset.offset, abs=1e-3)
    torch.testing.assert_close(done.repaired.logits, expected.repaired.logits, rtol=1e-3, atol=1e-3)
    x, y = ROWS
    with torch.no_grad():
        answers = done.model(x)
    for row, answer in zip(done.repaired.logits, done.repaired.labels, strict=True):
        same = (answers - row).abs().amax(dim=1) < 1e-4
        assert bool((y[same] == answer).any())
    for module, start in zip(modules, kept, strict=True):
        assert toys.same(module.state_dict(), start)


@pytest.mark.parametrize("rows", [ROWS, [x.split(10) for x in ROWS], [list(x) for x in ROWS]], ids=str)
def test_inputs_and_labels_in_lists_will_do(pair, expected, rows) -> None:
    done = repair(*(model.module for model in pair), rows, CHOICES, seen=[0, 2, 3])
    assert done.alpha == expected.alpha
    torch.testing.assert_close(done.repaired.logits, expected.repaired.logits, rtol=1e-4, atol=1e-4)


def test_a_shuffled_loader_gives_the_same_and_says_how_it_is_read(pair) -> None:
    modules = [model.module for model in pair]
    first = repair(*modules, DataLoader(TensorDataset(*ROWS), batch_size=32), CHOICES, seen=[0, 2, 3])
    with pytest.warns(UserWarning, match="read in order instead"):
        shuffled = DataLoader(TensorDataset(*ROWS), batch_size=32, shuffle=True, drop_last=True)
        again = repair(*modules, shuffled, CHOICES, seen=[0, 2, 3])
    assert toys.same(first.model.state_dict(), again.model.state_dict())


class Unlabelled(Dataset[Tensor]):
    def __len__(self) -> int:
        return len(ROWS[0])

    def __getitem__(self, i: int) -> Tensor:
        return ROWS[0][i]


@pytest.mark.parametrize(
    "more", [ROWS[0], DataLoader(Unlabelled(), batch_size=32), ROWS], ids=["tensor", "loader", "pair"]
)
def test_unlabelled_rows_serve_without_their_labels(pair, more) -> None:
    modules = [model.module for model in pair]
    done = repair(*modules, ROWS, Choices(), seen=[0, 2, 3], evidence=MoreEvidence(unlabelled=more))
    x, y = ROWS
    again = repair(*modules, ROWS, Choices(), seen=[0, 2, 3], evidence=MoreEvidence(unlabelled=(x, y.flip(0))))
    assert done.offset == again.offset and "unlabelled" in done.offset.evidence


def test_names_of_classes_are_those_given_or_those_of_the_data_set(pair) -> None:
    modules = [model.module for model in pair]
    done = repair(*modules, ROWS, CHOICES, seen=["ant", "cat", "dog"], classes=TARGET.classes)
    assert done.repaired.classes == TARGET.classes and done.offset.fitted.classes == TARGET.classes
    rows = TensorDataset(*ROWS)
    rows.classes = list(TARGET.classes)  # type: ignore[attr-defined]
    assert repair(*modules, DataLoader(rows), CHOICES, seen=["ant", "cat"]).repaired.classes == TARGET.classes


def test_what_does_not_belong_together_is_refused(pair) -> None:
    before, after = pair
    with pytest.raises(BadInput, match="seen="):
        repair(before.module, after.module, ROWS)
    with pytest.raises(BadKind, match="two modules and a loader; given: Classifier, Net, tuple"):
        repair(before, after.module, ROWS, seen=[0])
    with pytest.raises(BadKind, match="given: Net, Net, Data"):
        repair(before.module, after.module, TARGET)
    with pytest.raises(BadInput, match="answer 5 and 4 classes"):
        repair(before.module, toys.Net(4).eval(), ROWS, seen=[0])
    with pytest.raises(BadInput, match="2 class names were given, and the networks answer 5"):
        repair(before.module, after.module, ROWS, seen=[0], classes=["a", "b"])
    with pytest.raises(BadInput, match="not the same architecture"):
        repair(before.module, nn.Sequential(nn.Linear(3, 5)), ROWS, seen=[0, 2])
    with pytest.raises(BadKind, match="more evidence is a loader"):
        repair(before.module, after.module, ROWS, seen=[0, 2], evidence=MoreEvidence(unlabelled=TARGET))
    with pytest.raises(BadKind, match="more evidence is a Data"):
        repair(before, after, TARGET, evidence=MoreEvidence(unlabelled=ROWS[0]))


def test_seen_classes_of_data_may_be_said_too(pair) -> None:
    done = repair(*pair, TARGET, CHOICES, seen=["ant", 2])
    assert done.repaired.seen.tolist() == [True, False, True, False, False]
