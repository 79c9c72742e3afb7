"""What a calibrator is made of is checked wherever one is made: each number, each list, each tensor, one at a time.

What a fit says of itself, and what it does without arguments, is what its documentation says.
"""

import inspect
import math
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from reclaim.core.errors import BadInput, BadKind
from reclaim.core.registry import find, names
from tests import toys
from tests.calibration.reference import nll
from tests.contracts.test_every_calibrator import EVERY, FITS, held_out, make

# numbers that a method fits for each seen class, as its paper has them, and what is safer
PER_CLASS = {
    "bias-corrected-temperature": (1, "method here is temperature."),
    "vector": (2, "method here is temperature."),
    "histogram": (2, "method here is temperature."),
    "scaling-binning": (2, "method here is temperature."),
    "beta": (3, "method here is temperature."),
    "matrix": (2, "method here is temperature or vector."),
    "dirichlet": (2, "method here is temperature or vector."),
}
KEEP_ORDER = {
    "temperature", "ensemble-temperature", "parametrised-temperature", "order-preserving", "spline", "isotonic",
    "constrained", "logit-offset",
}  # fmt: skip
# numbers that must lie above 0, and lists that must not go below it
ABOVE = {
    "beta": "temperature", "bias-corrected-temperature": "temperature", "constrained": "temperature ratio",
    "dirichlet": "scale", "ensemble-temperature": "temperature", "histogram": "temperature", "isotonic": "temperature",
    "order-preserving": "scale", "parametrised-temperature": "temperature", "scaling-binning": "temperature",
    "spline": "room scale", "temperature": "temperature",
}  # fmt: skip
LEAST = {"beta": "a b", "scaling-binning": "slopes"}
# arguments of a fit: what the documentation says that they are where they are left out, and something else
DEFAULTS: dict[str, dict[str, tuple[Any, Any]]] = {
    "constrained": {
        "select": ("auto", "none"), "budget": (0.05, 0.2), "confidence": (None, 0.9), "ratio": (1.0, 2.0),
    },
    "histogram": {"bins": (15, 16)},
    "scaling-binning": {"bins": (15, 16)},
    "isotonic": {"kind": ("shared", "one-vs-rest")},
    "order-preserving": {"variant": ("invariant", "diagonal"), "hidden": (10, 11), "seed": (0, 1)},
    "parametrised-temperature": {"loss": ("nll", "brier"), "top": (10, 11), "hidden": (10, 11), "seed": (0, 1)},
    "spline": {"knots": (6, 7)},
    "vector": {"ridge": (None, 0.5)},
    "bias-corrected-temperature": {"ridge": (None, 0.5)},
    "matrix": {"off_diagonal": (None, 0.5), "intercept": (None, 5.0)},
    "dirichlet": {"off_diagonal": (None, 0.5), "intercept": (None, 5.0)},
}  # fmt: skip
CASES = ["usual", "bent", "all right", "worse than chance", "all logits of a row are equal"]


def wrong(value: Any) -> Iterator[Any]:
    """Values that stand for nothing where this one stands."""
    if isinstance(value, bool | str) or value is None:
        return
    if isinstance(value, int | float):
        yield from (math.nan, math.inf, "1", True)
    elif isinstance(value, Tensor):
        yield value.long()
        yield torch.cat([value, value[:1]])
        if bool(value.isfinite().all()):
            yield torch.where(torch.arange(value.numel()).view_as(value) == value.numel() - 1, -torch.inf, value)
    elif isinstance(value, tuple) and value and isinstance(value[0], int | float):
        yield from (value[:-1], (*value, value[-1]), (*value[:-1], math.nan), "".join(map(str, value)))


@EVERY
def test_each_part_is_refused_where_it_is_wrong_and_the_others_are_right(name: str) -> None:
    calibrator = make(name, toys.logits()[2])
    for field in fields(calibrator):
        if field.name != "fitted":
            for value in wrong(getattr(calibrator, field.name)):
                with pytest.raises((BadInput, BadKind)):
                    replace(calibrator, **{field.name: value})
                    pytest.fail(f"{field.name} = {value} is accepted")


@pytest.mark.parametrize(("name", "numbers"), PER_CLASS.items())
def test_fewer_rows_than_numbers_are_refused_and_as_many_are_not(name: str, numbers: tuple[int, str]) -> None:
    z, y, seen = toys.logits(n=400, seed=9)
    own = seen[y].nonzero().squeeze(1)[: numbers[0] * int(seen.sum())]
    find("calibrators", name).fit(z[own], y[own], seen)
    with pytest.raises(
        BadInput, match=rf"{len(own)} numbers .* cannot be fitted to {len(own) - 1} rows.*{re.escape(numbers[1])}"
    ):
        find("calibrators", name).fit(z[own[1:]], y[own[1:]], seen)


@EVERY
def test_the_promise_to_keep_the_order_is_the_one_that_is_written_here(name: str) -> None:
    assert make(name, toys.logits()[2]).keeps_order == (name in KEEP_ORDER or name == "chain")
    assert set(KEEP_ORDER) | set(PER_CLASS) | {"chain"} == set(names("calibrators"))


@pytest.mark.parametrize("name", ABOVE | LEAST)
def test_bounds_of_numbers_are_where_they_are_said_to_be(name: str) -> None:
    calibrator = make(name, toys.logits()[2])
    for field in ABOVE.get(name, "").split():
        assert getattr(replace(calibrator, **{field: 0.5}), field) == 0.5
        for value in (0.0, -0.5):
            with pytest.raises(BadInput, match=rf"{field} must be a finite number above 0; given: {value}"):
                replace(calibrator, **{field: value})
    for field in LEAST.get(name, "").split():
        values = getattr(calibrator, field)
        assert getattr(replace(calibrator, **{field: (*values[:-1], 0.0)}), field)[-1] == 0
        with pytest.raises(BadInput, match=rf"{field}\[3\] must be a finite number of at least 0; given: -0.5"):
            replace(calibrator, **{field: (*values[:-1], -0.5)})


@pytest.mark.parametrize(("name", "argument"), [(name, one) for name, own in DEFAULTS.items() for one in own])
def test_without_an_argument_it_is_as_with_the_documented_one_and_unlike_another(name: str, argument: str) -> None:
    classes = 24 if argument == "top" else 8
    random, seen = torch.Generator().manual_seed(0), torch.arange(classes) % 2 == 0
    z = 4 * torch.randn(1000, classes, generator=random) - 3 * (~seen).float()
    lead = z[:, seen].topk(2).values.diff(dim=1).abs()
    bent = (
        -2.5 * (-z[:, seen].log_softmax(dim=1)).sqrt() / torch.where(lead < 1.5, 4.0, 1.0)
    )  # what no temperature does
    y = seen.nonzero().squeeze(1)[bent.softmax(dim=1).multinomial(1, generator=random).squeeze(1)]
    rows = (z, y, seen)
    fit, (documented, other) = find("calibrators", name).fit, DEFAULTS[name][argument]
    silent, said, otherwise = fit(*rows), fit(*rows, **{argument: documented}), fit(*rows, **{argument: other})
    assert torch.equal(silent(z), said(z)) and silent.fitted == said.fitted
    assert not torch.equal(silent(z), otherwise(z))


def test_every_argument_of_every_fit_is_in_the_table_of_defaults() -> None:
    for name in FITS:
        own = set(inspect.signature(find("calibrators", name).fit).parameters) - {"logits", "labels", "seen"}
        assert own == DEFAULTS.get(name, {}).keys()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", [name for name in FITS if name != "logit-offset"])
def test_what_a_fit_says_of_itself_is_what_it_documents_and_what_it_does(name: str, case: str) -> None:
    rows = held_out(toys.logits()[2])
    seen, y = rows.seen, (rows.seen.cumsum(0) - 1)[rows.labels]
    z = rows.logits.double()
    if case == "bent":
        z[:, 0] += 0.8 * z[:, 0].abs() ** 1.5  # no line undoes it, and an affine map moves the balance
    elif case == "all right":
        z[:, seen] += 20 * torch.nn.functional.one_hot(y, 4)
    elif case == "worse than chance":
        z[:, seen] -= 5 * torch.nn.functional.one_hot(y, 4)
    elif case == "all logits of a row are equal":
        z = 0 * z + torch.linspace(-1, 1, len(z))[:, None]
    made = find("calibrators", name).fit(z, rows.labels, seen)
    best = find("calibrators", "temperature").fit(z, rows.labels, seen)
    told = made.fitted.details
    promised = re.search(
        r"fitted: (.*?)(?=\n    \w|\n        \w+(?:, \w+)*: |\Z)", inspect.cleandoc("\n    " + made.__doc__), re.S
    )
    assert promised is not None
    documented = set(re.findall(r"`(\w+)`", promised.group(1)))
    assert told.keys() <= documented and documented - told.keys() <= {"note"}
    inside = made(z)[:, seen]
    values = {
        "nll": nll(inside, y),
        "nll_before": nll(z[:, seen], y),
        "nll_temperature": nll(best(z)[:, seen], y),
        "temperature": best.temperature,
    }
    for key in values.keys() & told.keys():
        assert told[key] == pytest.approx(values[key], rel=1e-5, abs=1e-5), key
    if "nll_before" in told or name in ("histogram", "isotonic", "beta", "scaling-binning"):
        assert best.fitted.details["note"] in told["note"] and bool(best.fitted.details["note"]) == (case in CASES[2:])
    if hasattr(made, "temperature") and "ridge" not in told:
        assert made.temperature == pytest.approx(best.temperature, rel=1e-6)
