"""Calibrators beside those of other libraries: speed, accuracy, and what becomes of absent classes.

Run: python -m benchmarks.calibration.tables
     python -m benchmarks.calibration.tables --tables speed --sizes small --methods temperature,vector

The other libraries are no dependencies and nothing is installed here: those that cannot be imported are left out, and
named. To compare with all of them: pip install probmetrics torch-uncertainty netcal betacal (scikit-learn is there).

Everything runs on one thread. Seconds are CPU seconds of the fit alone; who takes probabilities is given them ready
made. One read is NumPy's ``logits.max(axis=1)``. Every library is called with its defaults, except for a number of bins
of 15 and where the table shows arguments. The real softmax outputs are read from the folder RECLAIM_DATA.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import os
import signal
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.speed.memory import extra_memory
from reclaim.core.registry import find, names
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.row_scores import top_label

SIZES = {"small": (10_000, 100), "large": (50_000, 1_000)}
FRESH = 20_000  # rows that judge, at most
SHORT = 0.2  # seconds: the clock of CPU time is coarse
SPEED = (
    "temperature", "bias-corrected-temperature", "vector", "matrix", "dirichlet", "isotonic", "histogram", "beta",
    "ensemble-temperature", "ece",
)  # fmt: skip
SMALL_ONLY = ("beta",)
NO_FITS = ("chain", "logit-offset")
PEERS = {
    "probmetrics": "probmetrics.calibrators",
    "torch-uncertainty": "torch_uncertainty.post_processing",
    "netcal": "netcal.scaling",
    "scikit-learn": "sklearn.calibration",
    "betacal": "betacal",
}
NETWORKS = ("wrn16_4_c10", "lenet5_c10", "wrn16_4_c100", "lenet5_c100")


@dataclass(frozen=True)
class Way:
    """How one library does one method.

    Attributes:
        method: our name of it.
        library, call: whose, and what is called.
        fit: of (what `given` makes of logits, labels, seen classes); returns what is applied to what `given` makes.
        given: from logits to what the library takes.
    """

    method: str
    library: str
    call: str
    fit: Callable[[Any, Tensor, Tensor | None], Callable[[Any], Any]]
    given: Callable[[Tensor], Any] = lambda z: z


@dataclass(frozen=True)
class Rows:
    """Logits [N, C] and labels [N]."""

    z: Tensor
    y: Tensor


# The libraries


def probabilities(z: Tensor) -> np.ndarray[Any, Any]:
    """[N, C] in double precision: netcal differentiates by differences, which single precision drowns."""
    return z.double().softmax(dim=1).numpy()


def ours(method: str, **numbers: Any) -> Way:
    """One of this library's calibrators."""

    def fit(z: Tensor, y: Tensor, seen: Tensor | None) -> Callable[[Any], Any]:
        made: Callable[[Any], Any] = find("calibrators", method).fit(z, y, seen, **numbers)
        return made

    return Way(method, "reclaim", _call(find("calibrators", method).__name__, numbers), fit)


def probmetrics(method: str, name: str, **arguments: Any) -> Way:
    """A calibrator of probmetrics, which takes logits."""
    module, made_of = importlib.import_module("probmetrics.calibrators"), _logits_of_probmetrics()

    def fit(z: Tensor, y: Tensor, seen: Tensor | None) -> Callable[[Any], Any]:
        made = getattr(module, name)(**arguments).fit_torch(made_of(z), y)
        return lambda z: made.predict_proba_torch(made_of(z)).get_logits()

    return Way(method, "probmetrics", _call(name, arguments), fit)


def probmetrics_beta() -> Way:
    """Beta calibration, one class against the rest; needs betacal too."""
    module, made_of = importlib.import_module("probmetrics.calibrators"), _logits_of_probmetrics()

    def fit(z: Tensor, y: Tensor, seen: Tensor | None) -> Callable[[Any], Any]:
        made = module.MulticlassOneVsRestCalibrator(module.BetacalCalibrator()).fit_torch(made_of(z), y)
        return lambda z: made.predict_proba_torch(made_of(z)).get_logits()

    return Way("beta", "probmetrics", "BetacalCalibrator one-vs-rest", fit)


def _logits_of_probmetrics() -> Any:
    return importlib.import_module("probmetrics.distributions").CategoricalLogits


def torch_uncertainty(method: str, name: str, *, sized: bool = False) -> Way:
    """A scaler of torch-uncertainty, which takes logits; `sized` ones must know the number of classes."""
    module = importlib.import_module("torch_uncertainty.post_processing")

    def fit(z: Tensor, y: Tensor, seen: Tensor | None) -> Callable[[Any], Any]:
        scaler = getattr(module, name)(**({"num_classes": z.shape[1]} if sized else {}))
        scaler.fit([(z, y)], progress=False)
        return lambda z: scaler(z).detach()

    return Way(method, "torch-uncertainty", name, fit)


def netcal(method: str, module: str, name: str, **arguments: Any) -> Way:
    """A calibrator of netcal, which takes probabilities."""
    made_by = getattr(importlib.import_module(f"netcal.{module}"), name)

    def fit(p: Any, y: Tensor, seen: Tensor | None) -> Callable[[Any], Any]:
        made = made_by(**arguments)
        made.fit(p, y.numpy())
        return lambda p: torch.from_numpy(np.asarray(made.transform(p))).double().log()

    return Way(method, "netcal", _call(name, arguments), fit, probabilities)


def scikit_learn(method: str, kind: str) -> Way:
    """CalibratedClassifierCV on a frozen classifier that returns what it is given: logits, or probabilities."""
    calibration, frozen = (importlib.import_module(f"sklearn.{name}") for name in ("calibration", "frozen"))
    base = importlib.import_module("sklearn.base")
    answer = "decision_function" if kind == "temperature" else "predict_proba"

    class Given(base.ClassifierMixin, base.BaseEstimator):  # type: ignore[name-defined]
        def fit(self, x: Any, y: Any) -> Any:
            self.classes_ = np.arange(x.shape[1])
            return self

        def predict(self, x: Any) -> Any:
            return x.argmax(axis=1)

    def itself(self: Any, x: Any) -> Any:
        return x

    itself.__name__ = answer  # scikit-learn asks for it
    setattr(Given, answer, itself)

    def fit(x: Any, y: Tensor, seen: Tensor | None) -> Callable[[Any], Any]:
        given = frozen.FrozenEstimator(Given().fit(x, y))
        made = calibration.CalibratedClassifierCV(given, method=kind).fit(x, y.numpy())
        return lambda x: torch.from_numpy(made.predict_proba(x)).double().log()

    call = f'CalibratedClassifierCV(method="{kind}")'
    return Way(method, "scikit-learn", call, fit, (lambda z: z.numpy()) if kind == "temperature" else probabilities)


def _call(name: str, arguments: dict[str, Any]) -> str:
    return name + (f"({', '.join(f'{key}={value}' for key, value in arguments.items())})" if arguments else "")


def importable() -> set[str]:
    """The libraries that are there; says which, and which are not."""
    found = {}
    for library, module in PEERS.items():
        try:
            importlib.import_module(module)
            found[library] = version(library)
        except Exception as error:  # a half-installed library fails with whatever it meets
            print(f"left out: {library} ({_first_line(error)})")
    print("beside: " + ", ".join(f"{library} {number}" for library, number in found.items()) + "\n")
    return set(found)


def ways(there: set[str]) -> list[Way]:
    """Every library's way of every method, ours first."""
    made = [ours(name) for name in names("calibrators") if name not in NO_FITS]
    made += [ours("vector", ridge=0.0), ours("isotonic", kind="one-vs-rest")]
    if "probmetrics" in there:
        made += [
            probmetrics("temperature", "TemperatureScalingCalibrator"),
            probmetrics("vector", "VectorScalingCalibrator"),
            probmetrics("vector", "SVSCalibrator"),
            probmetrics("matrix", "MatrixScalingCalibrator"),
            probmetrics("matrix", "SMSCalibrator"),
            probmetrics("ensemble-temperature", "ETSCalibrator"),
            probmetrics("ensemble-temperature", "ETSCalibrator", loss="ce"),
        ]
        made += [probmetrics_beta()] if "betacal" in there else []
    if "torch-uncertainty" in there:
        made += [
            torch_uncertainty("temperature", "TemperatureScaler"),
            torch_uncertainty("vector", "VectorScaler", sized=True),
            torch_uncertainty("matrix", "MatrixScaler", sized=True),
            torch_uncertainty("dirichlet", "DirichletScaler", sized=True),
            torch_uncertainty("isotonic", "IsotonicRegressionScaler"),
            torch_uncertainty("histogram", "HistogramBinningScaler"),
        ]
    if "netcal" in there:
        made += [
            netcal("temperature", "scaling", "TemperatureScaling"),
            netcal("vector", "scaling", "LogisticCalibration"),
            netcal("isotonic", "binning", "IsotonicRegression"),
            netcal("histogram", "binning", "HistogramBinning", bins=15),
            netcal("beta", "scaling", "BetaCalibration"),
        ]
    if "scikit-learn" in there:
        made += [scikit_learn("temperature", "temperature"), scikit_learn("isotonic", "isotonic")]
    return made


def errors(there: set[str], c: int) -> list[tuple[str, str, Callable[[Tensor], Any], Callable[[Any, Tensor], float]]]:
    """Every library's expected calibration error of C classes: library, call, what it is given, the function."""
    made: list[Any] = [("reclaim", "ece(*top_label(z, y))", lambda z: z, lambda z, y: ece(*top_label(z, y)))]
    if "torch-uncertainty" in there:
        kind = importlib.import_module("torch_uncertainty.metrics").CalibrationError
        of_logits = lambda z, y: float(kind(task="multiclass", num_classes=c, num_bins=15)(z, y))  # noqa: E731
        made.append(("torch-uncertainty", "CalibrationError", lambda z: z, of_logits))
    if "netcal" in there:
        measure = importlib.import_module("netcal.metrics").ECE(bins=15).measure
        made.append(("netcal", "ECE", probabilities, lambda p, y: float(measure(p, y.numpy()))))
    return made


# Data


def synthetic(n: int, c: int, seed: int, lift: tuple[float, float]) -> Rows:
    """Logits of a network that is too confident, by another factor and bias for each class.

    Args:
        lift: range of what one logit of each row has more than the others.
    """
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(n, c, generator=random).mul_(2)
    low, high = lift
    z[torch.arange(n), torch.randint(c, (n,), generator=random)] += low + (high - low) * torch.rand(n, generator=random)
    scale, shift = truth(c)
    labels = []
    for block in z.split(1_000):
        noise = torch.empty_like(block).exponential_(generator=random).log_()  # argmax(t - log E) is drawn from softmax
        labels.append((block * scale + shift - noise).argmax(dim=1))
    return Rows(z, torch.cat(labels))


def truth(c: int) -> tuple[Tensor, Tensor]:
    """The factors and biases under which labels are drawn."""
    random = torch.Generator().manual_seed(c)
    scale = torch.empty(c).normal_(0, 0.15, generator=random).exp_() / 1.7
    return scale, torch.empty(c).normal_(0, 0.5, generator=random)


# Measuring


class GivenUp(BaseException):
    """The time is over. Not an Exception, so that no library takes it for one of its own."""


@contextlib.contextmanager
def calm(give_up: float) -> Iterator[None]:
    """No warnings, no prints of others, and at most so many CPU seconds."""

    def stop(*_: object) -> None:
        raise GivenUp

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, give_up)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def seconds(call: Callable[[], object], repeats: int, limit: float = float("inf")) -> float:
    """Median CPU time; one run alone where that takes longer than `limit`, and short calls many times in a row."""
    times: list[float] = []
    while len(times) < repeats and not (times and times[0] > limit):
        start, calls = time.process_time(), 0
        while not calls or time.process_time() - start < SHORT:
            call()
            calls += 1
        times.append((time.process_time() - start) / calls)
    return statistics.median(times)


def nll(made: Tensor, y: Tensor) -> str:
    """Mean negative log-likelihood; where labels have the probability 0, their share too."""
    loss = -made.double().log_softmax(dim=1).gather(1, y[:, None]).squeeze(1)
    never = float(loss.isinf().double().mean())
    return f"inf (p = 0 for {never:.1%})" if never else f"{float(loss.mean()):.4f}"


def fitted(way: Way, rows: Rows, seen: Tensor | None, on: Sequence[Tensor], give_up: float) -> list[Tensor] | str:
    """What the fit to `rows` makes of other logits, or why there is nothing."""
    try:
        with calm(give_up):
            made = way.fit(way.given(rows.z), rows.y, seen)
            return [made(way.given(z)).detach() for z in on]
    except GivenUp:
        return f"given up after {give_up:,.0f} s"
    except Exception as error:
        return _first_line(error)


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).partition("\n")[0].replace("|", "/")
    return f"{type(error).__name__}: {line[:100]}"


def row(*cells: str) -> None:
    """One row of a Markdown table, at once."""
    print("| " + " | ".join(cells) + " |", flush=True)


def head(*cells: str) -> None:
    """Its first two rows."""
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


# The tables


def speed(size: str, every: list[Way], there: set[str], wanted: Sequence[str], options: argparse.Namespace) -> None:
    """Seconds, reads and the likelihood of fresh rows."""
    n, c = SIZES[size]
    rows, fresh = synthetic(n, c, 0, (4, 16)), synthetic(min(n, FRESH), c, 1, (4, 16))
    read = seconds(lambda: rows.z.numpy().max(axis=1), 9)
    scale, shift = truth(c)
    print(f"\n## Speed, {n:,} × {c:,}: one read is {1e3 * read:.2f} ms\n")
    head("method", "library", "call", "seconds", "reads", f"NLL of {len(fresh.y):,} fresh rows")
    row("–", "–", "as they are", "–", "–", nll(fresh.z, fresh.y))
    row("–", "–", "the map that drew the labels", "–", "–", nll(fresh.z * scale + shift, fresh.y))
    for method in wanted:
        if method in SMALL_ONLY and size != "small":
            continue
        for way in (way for way in every if way.method == method):
            spent, judged = timed(way, rows, fresh, options)
            cells = ("–", "–") if spent is None else (f"{spent:.4g}", f"{spent / read:,.0f}")
            row(method, way.library, way.call, *cells, judged)
    if "ece" in wanted:
        for library, call, given, of in errors(there, c):
            z = given(rows.z)
            with calm(options.give_up):
                value = of(z, rows.y)
                spent = seconds(partial(of, z, rows.y), options.repeats)
            row("ece", library, call, f"{spent:.4g}", f"{spent / read:.1f}", f"(ECE {value:.6f})")
    if "temperature" in wanted:
        fit = lambda: find("calibrators", "temperature").fit(rows.z, rows.y)  # noqa: E731
        extra = statistics.median(extra_memory(fit) for _ in range(3))
        print(f"\nExtra memory of our temperature fit: {extra / 2**20:.1f} MiB.", flush=True)


def timed(way: Way, rows: Rows, fresh: Rows, options: argparse.Namespace) -> tuple[float | None, str]:
    """Seconds of the fit, and the likelihood of fresh rows; or no seconds and why."""
    given = way.given(rows.z)
    made: list[Callable[[Any], Any]] = []

    def fit() -> None:
        with calm(options.give_up):
            made[:] = [way.fit(given, rows.y, None)]

    try:
        spent = seconds(fit, options.repeats, options.limit)
        with calm(options.give_up):
            return spent, nll(made[0](way.given(fresh.z)), fresh.y)
    except GivenUp:
        return None, f"given up after {options.give_up:,.0f} s"
    except Exception as error:
        return None, _first_line(error)


def accuracy(every: list[Way], options: argparse.Namespace) -> None:
    """Likelihood and calibration error of real networks' outputs."""
    path = Path(os.environ.get("RECLAIM_DATA", "../shared/data")) / "logits" / "cifar_softmax_netcal.npz"
    if not path.exists():
        print("\nleft out: accuracy on real outputs (no logits/cifar_softmax_netcal.npz in RECLAIM_DATA)")
        return
    print("\n## Accuracy on real outputs: NLL / ECE of rows 5,000 to 9,999, fitted on the 5,000 before\n")
    head("method", "library", "call", *(name.replace("_", " ") for name in NETWORKS))
    with np.load(path, allow_pickle=False) as file:
        data = [
            Rows(
                torch.from_numpy(file[f"{name}_probs"]).clamp_min(1e-38).log(),
                torch.from_numpy(file[f"{name}_labels"]).long(),
            )
            for name in NETWORKS
        ]
    row("–", "–", "as they are", *(scores(part.z[5_000:], part.y[5_000:]) for part in data))
    for way in sorted(every, key=lambda way: way.method):
        cells = []
        for part in data:
            first = Rows(part.z[:5_000], part.y[:5_000])
            made = fitted(way, first, None, [part.z[5_000:]], options.give_up)
            cells.append(made if isinstance(made, str) else scores(made[0], part.y[5_000:]))
        row(way.method, way.library, way.call, *cells)


def scores(z: Tensor, y: Tensor) -> str:
    """NLL and ECE of calibrated logits."""
    if z.isnan().any():
        return "NaN"
    return f"{nll(z, y)} / {ece(*top_label(z.double(), y)):.4f}"


def absent(every: list[Way], options: argparse.Namespace) -> None:
    """What classes without a row keep."""
    c = 100
    rows, fresh = synthetic(20_000, c, 2, (12, 22)), synthetic(10_000, c, 3, (12, 22))
    seen = torch.zeros(c, dtype=torch.bool)
    seen[torch.randperm(c, generator=torch.Generator().manual_seed(0))[: c // 2]] = True
    own = seen[rows.y]
    rows = Rows(rows.z[own], rows.y[own])
    print(f"\n## Absent classes: {c // 2} of {c}, fitted on {len(rows.y):,} rows of the others\n")
    head(
        "method", "library", "call", "accuracy, absent", "accuracy, seen", "NLL of seen rows", "among seen classes only"
    )
    row("–", "–", "as they are", *kept(fresh.z, fresh.y, seen))
    for way in sorted(every, key=lambda way: way.method):
        made = fitted(way, rows, seen, [fresh.z], options.give_up)
        row(
            way.method,
            way.library,
            way.call,
            *([made, "", "", ""] if isinstance(made, str) else kept(made[0], fresh.y, seen)),
        )


def kept(z: Tensor, y: Tensor, seen: Tensor) -> list[str]:
    """Accuracy on absent and on seen classes, NLL on rows of seen ones, over all and over seen columns."""
    if (bad := z.isnan().any(dim=1)).any():
        return [f"NaN in {float(bad.double().mean()):.0%} of rows", "", "", ""]
    own, right = seen[y], (z.argmax(dim=1) == y).double()
    inside = (seen.cumsum(0) - 1)[y[own]]
    return [
        f"{float(right[~own].mean()):.4f}",
        f"{float(right[own].mean()):.4f}",
        nll(z[own], y[own]),
        nll(z[own][:, seen], inside),
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tables", default="speed,accuracy,absent", help="some of speed, accuracy, absent")
    parser.add_argument("--sizes", choices=[*SIZES, "both"], default="both", help="of the logits in the speed table")
    parser.add_argument("--methods", default=",".join(SPEED), help="of the speed table, by our names")
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many runs")
    parser.add_argument("--limit", type=float, default=120, help="a fit that takes more seconds runs once only")
    parser.add_argument("--give-up", type=float, default=300, help="a fit that takes more seconds is ended")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    print(f"one thread, float32, median of {options.repeats}, torch {torch.__version__}, NumPy {np.__version__}")
    with threadpool_limits(1):
        there = importable()
        every = ways(there)
        tables = options.tables.split(",")
        for size in SIZES if options.sizes == "both" else [options.sizes]:
            if "speed" in tables:
                speed(size, every, there, options.methods.split(","), options)
        if "accuracy" in tables:
            accuracy(every, options)
        if "absent" in tables:
            absent(every, options)


if __name__ == "__main__":
    main()
