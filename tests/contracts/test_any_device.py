"""Arrays may lie anywhere: what a method makes of logits on a card is, there, what it makes of them on the CPU.

Methods are found in the registries, metrics in their folder. A metric's arguments are known by their names; one with a
name that `TOYS` does not know must be added there. What else a method is asked with is said by its own test file, as in
the contracts of every calibrator and selector.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import reclaim.snapshots.metrics
from reclaim.bridges.modules import as_module
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.class_shifts import class_shifts
from reclaim.calibration.doubts import doubts
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.files import load_calibrator, save_calibrator
from reclaim.calibration.folding import affine_to_fold
from reclaim.calibration.protocol import as_affine
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.models.head import fold
from reclaim.repairs.answers import repair_answers
from reclaim.repairs.choices import Choices
from reclaim.repairs.mixtures import mixed
from reclaim.repairs.rows import MoreEvidence
from reclaim.report.diagnose import diagnose
from reclaim.report.evaluate import evaluate
from reclaim.report.reliability import reliability
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.snapshots.metrics.classwise import classwise_binned
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.row_scores import row_scores
from reclaim.snapshots.metrics.tradeoff import curve_of, steps_of
from reclaim.snapshots.probabilities import logarithm
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.snapshot import Snapshot, seen_mask
from reclaim.snapshots.writing import save_snapshot
from tests import toys
from tests.contracts.test_every_calibrator import FITS, make
from tests.pretended import pretended

Z, Y, SEEN = toys.logits(n=120, seed=9)
EVERY = pytest.mark.parametrize("name", names("calibrators"))


def there(value: Any, device: torch.device) -> Any:
    """The same with every tensor on the device, those of records too."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple | list):
        return type(value)(there(part, device) for part in value)
    if isinstance(value, Mapping):
        return {name: there(part, device) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: there(vars(value)[field.name], device) for field in fields(value)}
        return replace(value, **own)
    return value


def assert_same(made: Any, here: Any, device: torch.device, near: float = 1e-5) -> None:
    """The same values as on the CPU, tensors on the device."""
    assert type(made) is type(here) or isinstance(made, Tensor)
    if isinstance(here, Tensor):
        assert made.device == device and made.dtype == here.dtype
        torch.testing.assert_close(made.cpu(), here, rtol=near, atol=near, equal_nan=True)
    elif isinstance(here, float):
        assert made == pytest.approx(here, rel=near, abs=near, nan_ok=True)
    elif isinstance(here, Mapping):
        assert made.keys() == here.keys()
        for name in here:
            assert_same(made[name], here[name], device, near)
    elif isinstance(here, tuple | list):
        assert len(made) == len(here)
        for one, other in zip(made, here, strict=True):
            assert_same(one, other, device, near)
    elif is_dataclass(here):
        assert_same(vars(made), vars(here), device, near)
    else:
        assert made == here


# --- metrics


def modules(package: ModuleType) -> list[ModuleType]:
    return [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)
    ]


def metrics() -> dict[str, Callable[..., Any]]:
    """The functions that the files of the folder offer, each where it is written."""
    found = {}
    for module in modules(reclaim.snapshots.metrics):
        for name in module.__all__:
            value = vars(module)[name]
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                found[f"{module.__name__.rpartition('.')[2]}.{name}"] = value
    return found


METRICS = metrics()
M, SCORES = margins(Z, Y, SEEN), row_scores(Z, Y)
P, HIT = SCORES.top, SCORES.right
GROUPS = torch.arange(len(Z)) // 3
NUMBERS = {"n": len(Z), "num_groups": 9, "errors": 3, "fraction": 0.3, "a": 0.2, "b": 0.4, "offset": 0.5, "name": "ece"}
TOYS: dict[str, Any] = {
    "logits": Z,
    "labels": Y,
    "seen": SEEN,
    "is_seen": SEEN[Y],
    "is_absent": ~SEEN[Y],
    "log_odds": M.margin,
    "p": P,
    "hit": HIT,
    "score": P,
    "right": HIT,
    "groups": GROUPS,
    "m": M,
    "steps": steps_of(M),
    "points": curve_of(steps_of(M)),
    "scores": SCORES,
    "Binned": classwise_binned(Z, Y),
    "peak": torch.empty(len(Z)),
    "shift": torch.empty(len(Z)),
    "total": torch.empty(len(Z)),
    "statistic": lambda rows: float(rows.double().mean()),
}


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """What the toys say for those that it must be given, and the groups where it takes some."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            found[name] = (TOYS | NUMBERS)["Binned" if parameter.annotation == "Binned" else name]
        elif name == "groups":
            found[name] = GROUPS
    return found


def made_by(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    made = function(**given)
    return (
        [(block.start, *(part.clone() for part in parts)) for block, *parts in made]
        if inspect.isgenerator(made)
        else made
    )


def takes_arrays(function: Callable[..., Any]) -> set[str]:
    """The arguments that may be arrays of any kind, the logits aside: they may lie here while those are there."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.name != "logits" and "Array" in str(p.annotation)}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_what_lies_there_is_that_of_what_lies_here(name: str, device: torch.device) -> None:
    here = arguments(METRICS[name])
    assert_same(made_by(METRICS[name], there(here, device)), made_by(METRICS[name], here), device)


@pytest.mark.parametrize("name", [name for name, function in METRICS.items() if takes_arrays(function)])
def test_labels_and_seen_classes_may_stay_here(name: str, device: torch.device) -> None:
    here = arguments(METRICS[name])
    given = {arg: value if arg in takes_arrays(METRICS[name]) else there(value, device) for arg, value in here.items()}
    assert_same(made_by(METRICS[name], given), made_by(METRICS[name], here), device)


# --- calibrators


def options(function: Callable[..., Any]) -> list[dict[str, Any]]:
    """The keyword arguments to try: none, and each that is one of a few words as each of these."""
    hints = get_type_hints(function)
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    words = [(name, word) for name, hint in hints.items() if get_origin(hint) is Literal for word in get_args(hint)]
    return [{}, *({name: word} for name, word in words if defaults[name] != word)]


def itself(function: Any) -> Any:
    return function


def cases(family: str, known: Iterable[str], function: Callable[[Any], Any]) -> list[Any]:
    """Every method with each of its options."""
    pairs = [(name, option) for name in known for option in options(function(find(family, name)))]
    return [pytest.param(name, option, id="-".join([name, *option.values()])) for name, option in pairs]


def mean_loss(z: Tensor, y: Tensor, seen: Tensor) -> float:
    inside = z.double()[:, seen].log_softmax(dim=1)
    return -float(inside.gather(1, (seen.cumsum(0) - 1)[y][:, None]).mean())


@pytest.mark.parametrize(("name", "option"), cases("calibrators", FITS, attrgetter("fit")))
def test_a_fit_there_is_the_fit_here(name: str, option: dict[str, Any], device: torch.device, tmp_path: Path) -> None:
    z, y, seen = Z[SEEN[Y]], Y[SEEN[Y]], SEEN
    fit, z_there = partial(find("calibrators", name).fit, **option), z.to(device)
    here, made = fit(z, y, seen), fit(z_there, *(there((y, seen), device) if option else (y, seen)))
    assert torch.equal(z_there.cpu(), z)
    own = [value for value in vars(made).values() if isinstance(value, Tensor)]
    assert all(value.device.type == "cpu" for value in own)
    assert mean_loss(made(z), y, seen) == pytest.approx(mean_loss(here(z), y, seen), rel=1e-6)
    torch.testing.assert_close(made(Z), here(Z), rtol=1e-3, atol=1e-3)
    for which, fitted in (("here", here), ("there", made)):
        save_calibrator(tmp_path / f"{which}.json", fitted)
    assert load_calibrator(tmp_path / "there.json") == made


@EVERY
def test_applied_there_it_answers_there(name: str, device: torch.device, tmp_path: Path) -> None:
    made = make(name, toys.logits()[2])
    save_calibrator(tmp_path / "calibrator.json", made)
    for calibrate in (made, load_calibrator(tmp_path / "calibrator.json")):
        for dtype in (torch.float32, torch.float64, torch.float16):
            z = Z.to(dtype)
            assert_same(calibrate(z.to(device)), calibrate(z), device, 1e-5 if dtype != torch.float16 else 4e-3)
    assert_same(as_module(made).to(device)(Z.to(device)), made(Z), device)
    if (affine := as_affine(made)) is not None:
        assert_same(affine(Z.to(device)), made(Z), device)
    ties = torch.tensor([[0.0] * 7, [1e4] * 7, [3.0, 3, 3, -3, -3, -3, 3], [1e4, -1e4, 0, 0, 0, 0, 0]])
    assert_same(made(ties.to(device)), made(ties), device)
    assert_same(made(Z[:0].to(device)), made(Z[:0]), device)


@EVERY
def test_folded_into_a_network_there_it_answers_there(name: str, device: torch.device) -> None:
    made = make(name, SEEN)
    if as_affine(made) is None:
        return
    affine = affine_to_fold(made)
    x, here = torch.linspace(-1, 1, 12).reshape(4, 3), toys.classifier(module=toys.Net(7))
    away = here.copy()
    away.module.to(device)
    with torch.no_grad():
        assert_same(fold(away, affine).module(x.to(device)), affine(here.module(x)), device)


# --- evidence, snapshots, reports


def moved(rows: Snapshot, device: torch.device, *, labels_there: bool = True) -> Snapshot:
    """A snapshot built of logits there, and of the rest there too, or from here."""
    kept = {"labels": rows.labels, "seen": rows.seen, "groups": rows.groups, "features": rows.features}
    return replace(rows, logits=rows.logits.to(device), **(there(kept, device) if labels_there else kept))


@pytest.mark.parametrize(("name", "option"), cases("selectors", names("selectors"), itself))
def test_an_offset_chosen_there_is_the_one_chosen_here(name: str, option: dict[str, Any], device: torch.device) -> None:
    own = importlib.import_module(f"tests.calibration.selectors.test_{name.replace('-', '_')}")
    for without in {(), tuple(vars(own).get("INSTEAD", ()))}:
        here = {kind: rows for kind, rows in toys.evidence().given().items() if kind not in without}
        given = {kind: moved(rows, device, labels_there=bool(without)) for kind, rows in here.items()}
        made = [LogitOffset.select(Evidence(**rows), name, option) for rows in (given, here)]
        assert_same(*made, device)


ROWS = replace(
    toys.snapshot(),
    features=torch.randn(211, 4, generator=torch.Generator().manual_seed(0)),
    groups=torch.arange(211) // 2,
    weights=toys.classifier().weights,
    data="toys",
    split="test",
)
BEFORE = replace(ROWS, logits=toys.snapshot(seed=1, sunk=0.0).logits + ROWS.logits, weights=toys.classifier(1).weights)


def test_all_of_a_snapshot_lies_where_its_logits_do(device: torch.device) -> None:
    made = moved(ROWS, device, labels_there=False)
    assert {t.device for t in (made.logits, made.labels, made.seen, made.features, made.groups)} == {device}
    back = replace(made, logits=made.logits.cpu())
    assert {t.device.type for t in (back.labels, back.seen, back.features, back.groups)} == {"cpu"}


def doubled(z: Tensor) -> Tensor:
    return 2 * z


SNAPSHOTS: dict[str, Callable[[Snapshot], Any]] = {
    "units": lambda rows: rows.units,
    "rows": lambda rows: rows.rows(torch.tensor([3, 1, 2])),
    "mask": lambda rows: rows.rows(rows.labels > 2),
    "slice": lambda rows: rows.rows(slice(3, 9)),
    "thinned": lambda rows: rows.thinned(50),
    "reordered": lambda rows: rows.reordered(rows.classes[::-1]),
    "groups": lambda rows: replace(rows, groups=None).with_groups_of(rows).with_groups_of(rows),
    "seen rows": lambda rows: rows.seen_rows(),
    "through": lambda rows: rows.through(doubled),
    "unlabelled": lambda rows: rows.unlabelled(),
    "evaluate": evaluate,
    "reliability": partial(reliability, resamples=20),
    "doubts": lambda rows: doubts(rows, rows.rows(slice(0, 100))),
    "class shifts": lambda rows: class_shifts(rows.seen_rows()),
    "class shifts of a target": lambda rows: class_shifts(rows.seen_rows(), rows),
    "class shifts without labels": lambda rows: class_shifts(rows.seen_rows(), rows.unlabelled()),
    "logarithm": lambda rows: rows.with_logits(logarithm(rows.logits.softmax(dim=1), floor=1e-12)),
    "seen mask": lambda rows: seen_mask(rows.seen.nonzero(), 7),
    "diagnose": lambda rows: diagnose(
        replace(rows, logits=rows.logits.roll(1, 0), features=rows.features.flip(0)), rows
    ),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
@pytest.mark.parametrize("labels_there", [False, True])
def test_what_is_made_of_a_snapshot_there_is_made_there(name: str, labels_there: bool, device: torch.device) -> None:
    rows = replace(ROWS, weights=None)
    assert_same(SNAPSHOTS[name](moved(rows, device, labels_there=labels_there)), SNAPSHOTS[name](rows), device)


@pytest.mark.parametrize("name", names("diagnoses"))
def test_a_diagnosis_of_what_lies_there_is_that_of_what_lies_here(name: str, device: torch.device) -> None:
    ask = find("diagnoses", name)
    before, after = (moved(rows, device, labels_there=False) for rows in (BEFORE, ROWS))
    before = replace(before, weights=there(BEFORE.weights, device))
    assert_same(ask(before, after), ask(BEFORE, ROWS), device)


def test_a_snapshot_there_is_written_as_the_one_here(device: torch.device, tmp_path: Path) -> None:
    for name, rows in (("here", ROWS), ("there", moved(ROWS, device))):
        save_snapshot(tmp_path / f"{name}.safetensors", rows, shard_size=4000)
    here, away = ([load_file(f) for f in sorted(tmp_path.glob(f"{name}*.safetensors"))] for name in ("here", "there"))
    assert len(here) == len(away) > 1
    for one, other in zip(here, away, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    read = load_snapshot(tmp_path / "there.safetensors")
    assert read.logits.device.type == "cpu" and torch.equal(read.logits[:], ROWS.logits)


def test_a_repair_by_answers_there_is_the_one_here(device: torch.device) -> None:
    pair = [replace(rows, features=None, weights=None, groups=None) for rows in (BEFORE, ROWS)]
    away = [moved(rows, device, labels_there=False) for rows in pair]
    here, made = (
        repair_answers(*rows, Choices(select="gap-matching"), evidence=MoreEvidence(labelled=tuple(rows)))
        for rows in (pair, away)
    )
    assert_same(vars(made), vars(here), device)
    assert_same(made.model(away[0].logits, away[1].logits), here.model(pair[0].logits, pair[1].logits), device)


def test_what_lies_on_two_cards_is_refused_with_their_names() -> None:
    with pretended(cards=2):
        pair = [moved(ROWS, torch.device("cuda", card)) for card in (0, 1)]
        z, far = pair[0].logits, pair[1]
        asked: list[Callable[[], object]] = [
            lambda: accuracy(z, far.labels, ROWS.seen),
            lambda: accuracy(z, ROWS.labels, far.seen),
            lambda: Snapshot(z, far.labels, far.seen),
            lambda: replace(pair[0], features=far.features),
            lambda: replace(pair[0], groups=far.groups),
            lambda: diagnose(*pair),
            lambda: repair_answers(*pair),
            lambda: mixed(z, far.logits, 0.5),
            lambda: Evidence(seen=pair[0], before=far),
            lambda: diagnose(ROWS, far),
        ]
        for ask in asked:
            with pytest.raises(BadInput, match=r"on (cuda:0|cpu),.* on cuda:[01]"):
                ask()
