"""Calibrators as modules: the same numbers, from a graph with any number of rows."""

from pathlib import Path

import pytest
import torch
from torch import nn

from reclaim.bridges.modules import Served, as_module
from reclaim.bridges.onnx import save_onnx
from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.constrained import Constrained
from reclaim.calibration.calibrators.dirichlet import Dirichlet
from reclaim.calibration.calibrators.histogram import Histogram
from reclaim.calibration.calibrators.isotonic import Isotonic
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.calibrators.matrix import Matrix
from reclaim.calibration.calibrators.order_preserving import OrderPreserving
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests import toys

SEEN = tuple(toys.SEEN.tolist())


def dirichlet(classes: tuple[str, ...] = ()) -> Dirichlet:
    weights = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    return Dirichlet(weights, (0.1, 0.2, 0.3), 0.5, Fitted(SEEN, classes))


def test_an_affine_one_is_its_map_as_buffers_that_move_and_are_saved() -> None:
    matrix = Matrix(torch.arange(9.0).view(3, 3), (1.0, 2.0, 3.0), (0.5, -1.0), Fitted(SEEN))
    module, z = as_module(matrix), torch.randn(7, 5)
    assert torch.equal(module(z), matrix(z))
    assert {name: tuple(part.shape) for name, part in module.state_dict().items()} == {"scale": (5, 5), "shift": (5,)}
    assert module.to(torch.float64)(z.double()).dtype == torch.float64


def test_an_affine_one_finds_its_classes_among_those_of_a_model() -> None:
    offset = LogitOffset(2.0, Fitted(SEEN, toys.CLASSES))
    order = ("yak", "elk", "dog", "cat", "bee", "ant")
    assert as_module(offset, order)(torch.zeros(1, 6)).tolist() == [[2, 2, 0, 0, 2, 0]]


def test_any_other_one_wants_the_same_classes_in_the_same_order() -> None:
    assert isinstance(as_module(dirichlet(toys.CLASSES), toys.CLASSES), nn.Module)
    assert isinstance(as_module(dirichlet(), toys.CLASSES), nn.Module)
    with pytest.raises(BadInput, match=r"for 5 classes .* the model's 6 are others"):
        as_module(dirichlet(toys.CLASSES), (*toys.CLASSES, "yak"))


def test_a_chain_is_its_steps_in_order() -> None:
    chain = Chain((dirichlet(), Constrained(2.0, 1.0, 1.0, Fitted(SEEN)), Chain((Temperature(3.0, Fitted(SEEN)),))))
    z = torch.randn(7, 5)
    torch.testing.assert_close(as_module(chain)(z), chain(z))
    assert [type(step).__name__ for step in as_module(chain)] == ["_Called", "_Affine", "Sequential"]


def test_behind_a_network_it_answers_logits_and_their_probabilities() -> None:
    model, x = toys.classifier(), torch.randn(4, 3)
    logits, probabilities = Served(model.module, as_module(dirichlet()))(x)
    assert torch.equal(logits, dirichlet()(model.module(x))) and torch.equal(probabilities, logits.softmax(dim=1))
    assert torch.equal(Served(model.module)(x)[0], model.module(x))


def test_the_traced_graph_takes_any_number_of_rows_and_holds_its_constants() -> None:
    rows = ({0: torch.export.Dim("rows")},)
    traced = torch.export.export(as_module(dirichlet()), (torch.randn(2, 5),), dynamic_shapes=rows, strict=False)
    for n in (1, 2, 9):
        z = torch.randn(n, 5)
        assert torch.equal(traced.module()(z), dirichlet()(z))
    assert not any("nonzero" in str(node.target) for node in traced.graph.nodes)


def test_variants_trace_too_and_so_do_maps_of_all_classes(tmp_path: Path) -> None:
    z, y, _ = toys.logits(n=400, sunk=0.0)
    steps = (OrderPreserving.fit(z, y, variant="diagonal"), Isotonic.fit(z, y, kind="one-vs-rest"), Histogram.fit(z, y))
    for step in steps:
        rows = torch.cat([z, 30 * z, 1e4 * z])
        assert save_onnx(tmp_path / f"{type(step).__name__}.onnx", as_module(step), rows, ("a", "b"), {}) < 1e-6
