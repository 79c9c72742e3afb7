"""An offset in a head that something comes after: the bias is found by hand, to a 256th of the interval it lies in."""

import pytest
import torch
from torch import Tensor, nn

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.protocol import Fitted
from reclaim.core.inference import Inference
from reclaim.data.records import Data, Split
from reclaim.models.batches import evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict
from reclaim.repairs.folding import fold_offset
from reclaim.repairs.rows import Part

SEEN = torch.tensor([True, True, False])
NAMES = ("a", "b", "c")


class Times(nn.Module):
    """A head whose outputs are its inputs, and a factor after it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.head, self.factor = nn.Linear(3, 3), factor
        nn.init.eye_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.head(x)


def network(factor: float) -> Classifier:
    return Classifier(Times(factor).eval(), "head", classes=NAMES)


def rows(margins: list[float]) -> Part:
    """Rows of the first class, which stands so far above the absent one, and the other seen one nowhere."""
    x = torch.tensor([[margin, -9999.0, 0.0] for margin in margins]).numpy()
    data = Data(NAMES, {"val": Split(torch.zeros(len(x), dtype=torch.long), x.__getitem__, str)}, SEEN, "by hand")
    return Part(data, data.split("val"), "held out")


def lift(offset: float, *shifts: float) -> LogitOffset:
    return LogitOffset(offset, Fitted(tuple(SEEN.tolist()), NAMES), shifts)


def found_in(low: float, high: float, below: float) -> float:
    """The largest of the 256 parts of an interval that begins below a bound, if all before the bound holds."""
    return max(
        [low, *(low + part * (high - low) / 256 for part in range(256) if low + part * (high - low) / 256 < below)]
    )


CASES = {
    "it lies between a step below and above": (2.0, 0.3, [0.1, 0.6037, 5.0], found_in(-1, 1, 0.6037)),
    "a step is the offset, and 1 at least": (0.5, 1.5, [0.4, 2.9, 3.3171, 9.0], found_in(3, 6, 3.3171)),
    "it lies far above": (0.05, 1.0, [10.0, 37.3, 90.0], found_in(32, 64, 37.3)),
    "nothing is lost up to 64 steps": (1.5, 2.0, [0.5, 1000.0], found_in(64, 128, 1000.0)),
    "it lies far below": (0.1, -5.0, [-40.3, -60.7, 3.0], found_in(-80, -40, -40.3)),
    "it lies just below 0": (2.0, -2.0, [-0.7003, 4.0], found_in(-2, 2, -0.7003)),
    "nothing is kept down to 64 steps": (0.01, -5.0, [-450.5, 3.0], -320.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_bias_is_the_largest_that_costs_no_more_rows_than_the_offset(case: str) -> None:
    factor, offset, margins, expected = CASES[case]
    given, model = rows(margins), network(factor)
    folded, bias = fold_offset(model, lift(offset), given)
    assert bias == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(folded.weights["head.bias"], torch.tensor([0.0, 0.0, bias]))
    assert not model.weights["head.bias"].any()
    if "nothing" not in case:  # from both sides: as many are kept, and with a little more fewer
        kept = sum(factor * margin > offset for margin in margins)
        assert sum(margin > bias for margin in margins) == kept
        assert sum(margin > bias + max(1.0, abs(bias)) / 64 for margin in margins) < kept


def test_where_nothing_comes_after_the_head_it_is_the_offset_itself() -> None:
    folded, bias = fold_offset(network(1.0), lift(1.37), rows([0.5, 2.0]))
    assert bias == 1.37
    torch.testing.assert_close(folded.weights["head.bias"], torch.tensor([0.0, 0.0, 1.37]))


def test_shifts_of_single_classes_lie_in_the_head_too() -> None:
    folded, bias = fold_offset(network(2.0), lift(0.5, 0.25, -0.25, 0.0), rows([0.1, 0.9, 5.0]))
    torch.testing.assert_close(folded.weights["head.bias"], torch.tensor([0.25, -0.25, bias]))
    assert 0.25 + 0.9 - 2 / 256 <= bias < 0.25 + 0.9  # the row that stood 0.9 above stands 0.25 higher


def test_it_runs_as_it_is_told() -> None:
    """Rows come from the source that is given, in batches as they are asked for."""
    asked = []

    def source(model, some, inference, *, chunk=None):
        asked.append((len(some), inference))
        return evaluation_batches(model, some, inference, chunk=chunk)

    given, how = rows([0.1 + i for i in range(11)]), Inference(batch_size=4, device="cpu")
    folded, _ = fold_offset(network(2.0), lift(0.3), given, how, source)
    assert len(asked) > 10 and {inference for _, inference in asked} == {how} and {n for n, _ in asked} == {8, 11}
    calls = len(asked)
    again, _ = fold_offset(network(2.0), lift(0.3), given)
    assert len(asked) == calls
    assert torch.equal(predict(again, given.data, "val").logits, predict(folded, given.data, "val").logits)
