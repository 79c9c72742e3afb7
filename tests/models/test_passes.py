"""One pass over rows: in halves where memory is short, in other precisions, and with what it says of them."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.core.notes import note, noted
from reclaim.data.records import Data
from reclaim.models import passes
from reclaim.models.batch_norm import measure_again
from reclaim.models.classifier import Classifier
from reclaim.models.predict import predict
from tests import toys

DATA = toys.data()


class Small(nn.Module):
    """A network for which memory suffices up to so many rows, on a device that has little of it."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.net, self.most, self.asked = toys.classifier().module, most, []
        self.head = self.net.head

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        answer: Tensor = self.net(x)
        return answer


def small(most: int) -> Classifier:
    return replace(toys.classifier(), module=Small(most).eval(), head="net.head")


def test_where_memory_is_short_the_batch_is_halved_and_no_row_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    model = small(5)
    with noted() as notes:
        made = predict(model, DATA, "val", inference=Inference(batch_size=24, workers=0))
    torch.testing.assert_close(made.logits, predict(toys.classifier(), DATA, "val").logits)
    assert model.module.asked[:4] == [24, 12, 6, 3] and max(model.module.asked[3:]) == 3
    assert notes == {"rows_at_a_time": 3}
    assert "does not suffice for 24 rows at a time; it goes on with 12" in caplog.text


def test_a_network_that_does_not_fit_with_one_row_is_refused_with_the_way_out() -> None:
    with pytest.raises(BadInput, match=r"(?s)memory of cpu does not suffice: CUDA out of memory.*device='cpu'"):
        predict(small(0), DATA, "val", inference=Inference(workers=0))


def test_answers_wait_on_a_card_until_they_are_many_and_are_the_same(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[int] = []
    take = passes._Kept.hand_over
    monkeypatch.setattr(passes._Kept, "hand_over", lambda self: (fetched.append(len(self.blocks)), take(self)))
    made = predict(toys.classifier(), DATA, "val", inference=Inference(batch_size=7, workers=0, device=str(device)))
    assert sum(fetched) == 9 and len(fetched) <= 2
    torch.testing.assert_close(made.logits, predict(toys.classifier(), DATA, "val").logits)
    torch.testing.assert_close(made.features, predict(toys.classifier(), DATA, "val").features)


def test_half_precision_is_near_and_its_change_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "reclaim")
    exact = predict(toys.classifier(), DATA, "val").logits
    with noted() as notes:
        made = predict(toys.classifier(), DATA, "val", inference=Inference(batch_size=60, precision="bf16")).logits
    change = notes["precision_change"]
    assert change["largest_logit"] == pytest.approx(float((made - exact).abs().max()))
    assert 0 < change["largest_logit"] < 0.1
    assert change["share_of_answers"] == pytest.approx(float((made.argmax(1) != exact.argmax(1)).double().mean()))
    assert "bf16 on cpu: of 60 rows that were also run in float32" in caplog.text and made.dtype == torch.float32


class Switches(toys.Net):
    """Notes what convolutions and products of float32 are computed in while it runs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.now = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
        return super().forward(x)


@pytest.mark.parametrize(("precision", "kind"), [("float32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_single_precision_is_single_and_the_switches_return(precision: str, kind: str) -> None:
    model = replace(toys.classifier(), module=Switches().eval())
    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    predict(model, DATA, "val", inference=Inference(batch_size=40, precision=precision))
    assert before == (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
    assert model.module.now == (kind, kind)
    assert measure_again(model, DATA.split("val")).module.now == ("ieee", "ieee")


def test_what_fp16_does_not_hold_is_named_with_its_row_and_layer() -> None:
    model = toys.classifier()
    with torch.no_grad():
        model.module.first.weight *= 30000
        model.module.norm.running_var *= 30000**2
    predict(model, DATA, "val")
    predict(model, DATA, "val", inference=Inference(precision="bf16"))
    with pytest.raises(BadInput, match=r"(?s)fp16 .* row \d+ \(row \d+\), .*'first'.*precision='float32'"):
        predict(model, DATA, "val", inference=Inference(precision="fp16"))


def test_what_is_no_number_in_float32_either_is_no_matter_of_precision() -> None:
    model = toys.classifier()
    with torch.no_grad():
        model.module.head.weight[0] = float("nan")
    with pytest.raises(BadInput, match="logits hold nan in row 0"):
        predict(model, DATA, "val", inference=Inference(precision="bf16"))


@pytest.mark.parametrize("out", [True, False])
def test_what_half_precision_cannot_store_is_refused(tmp_path: Path, out: bool) -> None:
    def read(i: int) -> np.ndarray:
        x: np.ndarray = DATA.split("val").read(i)
        return x * np.float32(1e7) if i == 33 else x

    far: Data = replace(DATA, splits={"val": replace(DATA.split("val"), read=read)})
    predict(toys.classifier(), far, "val")
    with pytest.raises(BadInput, match=r"(?s)does not hold .* row 33; its largest number is 65504.*half="):
        predict(toys.classifier(), far, "val", half=True, out=tmp_path / "rows" if out else None)
    assert not list(tmp_path.iterdir())


def test_notes_are_kept_where_somebody_asks() -> None:
    note("lost", 1)
    with noted() as notes:
        note("a", 1)
        note("a", 3, max)
        note("a", 2, max)
        with noted() as inner:
            note("b", 1)
    assert notes == {"a": 3} and inner == {"b": 1}


@pytest.mark.parametrize("change", [{"precision": "fp8"}, {"workers": -1}, {"batch_size": 0}, {"device": "gpu"}])
def test_wrong_numbers_are_refused(change: dict[str, object]) -> None:
    make: Callable[..., Inference] = Inference
    with pytest.raises(BadInput, match=r"fp8|given: -1|given: 0\.|gpu"):
        make(**change)
