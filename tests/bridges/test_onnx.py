"""ONNX files: what they answer, and that none is left behind which answers otherwise."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from reclaim.bridges import onnx as onnx_graph
from reclaim.bridges.onnx import save_onnx
from reclaim.core.errors import BadInput
from reclaim.core.extras import require

runtime = require("onnxruntime", extra="onnx")


class Fine(nn.Module):
    """What single precision, or the exporter's own translations, would get wrong."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = x.double()
        below = torch.nextafter(x.float(), torch.tensor(-torch.inf))
        return (
            (x * 1e-3).sigmoid().clamp(1e-12, 1 - 1e-12) * (1 / 3),
            (-x.abs()).exp().clamp_min(1e-300).log(),
            (x / 10).sigmoid().log().clamp_min(-1e3),
            softplus(x / 100),
            x.cummin(dim=1).values,
            torch.where(below < x.float(), below, torch.nan).double() * 1e6,
        )


def answers(path: Path, x: Tensor) -> list[Tensor]:
    session = runtime.InferenceSession(path)
    return [torch.from_numpy(part) for part in session.run(None, {session.get_inputs()[0].name: x.numpy()})]


def test_numbers_keep_their_double_precision(tmp_path: Path) -> None:
    x = torch.cat([torch.randn(8, 7), 100 * torch.randn(8, 7), torch.tensor([[-1e4, -300, -1, 0, 1, 300, 1e4]])])
    names = ("x", "a", "b", "c", "d", "e", "f")
    assert save_onnx(tmp_path / "fine.onnx", Fine(), x, names, {}) < 1e-14
    for rows in (x, x[-1:]):
        for found, expected in zip(answers(tmp_path / "fine.onnx", rows), Fine()(rows), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


def test_the_file_says_what_it_was_told_and_nothing_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    save_onnx(path, nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.randn(3, 2), ("x", "y"), {"classes": "[]"})
    session = runtime.InferenceSession(path)
    assert session.get_modelmeta().custom_metadata_map["classes"] == "[]"
    assert [(part.name, part.shape) for part in session.get_inputs()] == [("x", ["rows", 2])]
    assert b"site-packages" not in path.read_bytes() and str(Path.cwd()).encode() not in path.read_bytes()


def test_what_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "_difference", lambda *_: torch.tensor([0.0, 0.0, 1e-3, 0.0]))
    common = (tmp_path / "x.onnx", nn.Linear(2, 3), torch.randn(3, 2), ("x", "y"), {})
    with pytest.raises(BadInput, match=r"by 1\.0e-03, where 1e-04 is allowed"):
        save_onnx(*common)
    assert not list(tmp_path.iterdir())
    assert save_onnx(*common, agreeing=0.75) == pytest.approx(1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_what_cannot_be_traced_or_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(BadInput, match="cannot be written as a graph"):
        save_onnx(tmp_path / "x.onnx", Asks(), torch.randn(3, 2), ("x", "y"), {})
    monkeypatch.setattr(onnx_graph, "_MOST", 10)
    with pytest.raises(BadInput, match="at most 2 GB"):
        save_onnx(tmp_path / "x.onnx", nn.Linear(2, 3), torch.randn(3, 2), ("x", "y"), {})
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(BadInput, match=r"needs onnxscript, .*: pip install 'reclaim\[onnx\]'"):
        save_onnx(tmp_path / "x.onnx", nn.Linear(2, 3), torch.randn(3, 2), ("x", "y"), {})
