"""What a method does without arguments is what its documentation says, and every argument reaches its place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.files import calibrator_record
from reclaim.calibration.selectors.retention_budget import retention_budget
from reclaim.core.registry import describe, find, names
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot
from tests import toys
from tests.calibration.shared import EVIDENCE as PLAIN

# by method and argument: the default, as the documentation has it, and another value that must change the answer
SELECTORS: dict[str, dict[str, tuple[Any, Any]]] = {
    "auto": {"budget": (0.05, 0.3), "confidence": (None, 0.9)},
    "average-logit-gap": {},
    "gap-matching": {"form": ("logsumexp", "mean"), "without_own": (True, False)},
    "labelled": {"criterion": ("overall", "harmonic")},
    "larger-of-two": {},
    "margin-mixture": {"iterations": (500, 1)},
    "own-class-left-out": {},
    "pseudo-absent": {},
    "rate-matching": {"rate": (None, 0.2), "count": ("hard", "soft")},
    "retention-budget": {"budget": (0.05, 0.3), "confidence": (None, 0.9)},
    "source-data": {"criterion": ("balanced", "overall")},
}
CALIBRATORS: dict[str, dict[str, tuple[Any, Any]]] = {
    "beta": {},
    "bias-corrected-temperature": {"ridge": (None, 0.5)},
    "constrained": {
        "select": ("auto", "none"), "budget": (0.05, 0.3), "confidence": (None, 0.9), "ratio": (1.0, 2.0),
    },
    "dirichlet": {"off_diagonal": (None, 0.5), "intercept": (None, 0.5)},
    "ensemble-temperature": {},
    "histogram": {"bins": (15, 3)},
    "isotonic": {"kind": ("shared", "one-vs-rest")},
    "matrix": {"off_diagonal": (None, 0.5), "intercept": (None, 0.5)},
    "order-preserving": {"variant": ("invariant", "diagonal"), "hidden": (10, 3), "seed": (0, 1)},
    "parametrised-temperature": {"loss": ("nll", "brier"), "top": (10, 2), "hidden": (10, 3), "seed": (0, 1)},
    "scaling-binning": {"bins": (15, 3)},
    "spline": {"knots": (6, 3)},
    "temperature": {},
    "vector": {"ridge": (None, 0.5)},
}  # fmt: skip
EVIDENCE = replace(PLAIN, before=PLAIN.before.through(lambda z: 0.7 * z + z.sin()))  # more has changed than one number


def bent(rows: Snapshot) -> Snapshot:
    """Rows whose truth no single temperature tells, so that every map has something to learn."""
    return rows.through(lambda z: z * (0.2 + z.abs()))


ROWS = bent(toys.snapshot(n=1000, c=14, sunk=3.0, split="val", data="toys").seen_rows())


def pairs(methods: dict[str, dict[str, tuple[Any, Any]]]) -> list[tuple[str, str, Any]]:
    return [(name, key, other) for name, numbers in methods.items() for key, (_, other) in numbers.items()]


@pytest.mark.parametrize(("family", "table"), [("selectors", SELECTORS), ("calibrators", CALIBRATORS)])
def test_defaults_are_those_that_are_documented(family: str, table: dict[str, dict[str, tuple[Any, Any]]]) -> None:
    assert {*names(family)} - {"chain", "logit-offset"} == {*table}
    for name, numbers in table.items():
        declared = {key: parameter.default for key, parameter in describe(family, name).numbers.items()}
        assert declared == {key: default for key, (default, _) in numbers.items()}, name


def evidence(selector: str) -> Evidence:
    """What changes the answer of a selector: `auto` has no use for its numbers where labelled rows are given."""
    return Evidence(seen=EVIDENCE.seen) if selector == "auto" else EVIDENCE


@pytest.mark.parametrize("name", SELECTORS)
def test_without_arguments_a_selector_takes_its_defaults(name: str) -> None:
    defaults = {key: default for key, (default, _) in SELECTORS[name].items()}
    chosen, given = (find("selectors", name)(evidence(name), **numbers) for numbers in ({}, defaults))
    assert chosen == given


@pytest.mark.parametrize(("name", "key", "value"), pairs(SELECTORS))
def test_an_argument_of_a_selector_changes_the_offset(name: str, key: str, value: Any) -> None:
    given = evidence(name)
    chosen = LogitOffset.select(given, name, {key: value})
    assert chosen.offset == find("selectors", name)(given, **{key: value}).offset
    assert chosen.offset != LogitOffset.select(given, name).offset


@pytest.mark.parametrize(("name", "key", "value"), pairs(SELECTORS))
def test_a_flag_of_a_selector_changes_the_offset(
    name: str, key: str, value: Any, tmp_path: Path, reclaim: Callable[..., Any]
) -> None:
    given = evidence(name).given()
    words = ["calibrate", "logit-offset", tmp_path / "seen.safetensors", "--select", name, "--json"]
    for kind, rows in given.items():
        split = "seen" if kind == "before" else kind  # the same rows, answered by the other model
        save_snapshot(tmp_path / f"{kind}.safetensors", replace(rows, split=f"{split} rows"))
        if kind not in ("seen", "reference"):
            words += [f"--{kind}", tmp_path / f"{kind}.safetensors"]
    flag = f"--{key}".replace("_", "-")
    told = [flag.replace("--", "--no-", 1)] if value is False else [flag, value]
    chosen = reclaim(*words, *told)
    assert chosen.code == 0, chosen.err
    assert chosen.json["offset"] == pytest.approx(find("selectors", name)(evidence(name), **{key: value}).offset)
    assert chosen.json["offset"] != pytest.approx(reclaim(*words).json["offset"])


@pytest.mark.parametrize(("name", "key", "value"), pairs(CALIBRATORS))
def test_an_argument_of_a_calibrator_changes_the_map_from_python_and_from_the_shell(
    name: str, key: str, value: Any, tmp_path: Path, reclaim: Callable[..., Any]
) -> None:
    plain, other = (find("calibrators", name).fit(ROWS, **numbers) for numbers in ({}, {key: value}))
    assert not plain(ROWS.logits).equal(other(ROWS.logits))
    save_snapshot(tmp_path / "rows.safetensors", ROWS)
    told = reclaim("calibrate", name, tmp_path / "rows.safetensors", f"--{key}".replace("_", "-"), value, "--json")
    assert told.code == 0, told.err
    expected = calibrator_record(other)
    numbers = {field: expected[field] for field in expected if isinstance(expected[field], float | int | str)}
    assert {field: told.json[field] for field in numbers} == pytest.approx(numbers)


def test_a_budget_certifies_with_as_many_rows_as_it_says_and_no_fewer() -> None:
    rows = EVIDENCE.seen
    right = rows.logits.argmax(dim=1) == rows.labels
    rows = rows.rows(right)  # none is lost without an offset, so that the certificate is only just one
    for budget, confidence, needed in ((0.1, None, 9), (0.05, None, 19), (1 / 20.0005, None, 20), (0.1, 0.9, 22)):
        enough = Evidence(seen=rows.rows(slice(0, needed)))
        assert retention_budget(enough, budget=budget, confidence=confidence).offset > 0
        with pytest.raises(Exception, match=f"{needed} are needed"):
            retention_budget(Evidence(seen=rows.rows(slice(0, needed - 1))), budget=budget, confidence=confidence)
