"""The calibrators of other libraries and ours, each called in one way.

The others are no dependencies and nothing is installed here: those that cannot be imported are left out, and named.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.calibration.clock import first_line
from reclaim.core.registry import find, names
from reclaim.snapshots.metrics.calibration_error import ece
from reclaim.snapshots.metrics.row_scores import top_label

__all__ = ["Way", "errors", "importable", "ways"]

NO_FITS = ("chain", "logit-offset")
PEERS = {
    "probmetrics": "probmetrics.calibrators",
    "torch-uncertainty": "torch_uncertainty.post_processing",
    "netcal": "netcal.scaling",
    "scikit-learn": "sklearn.calibration",
    "betacal": "betacal",
}


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
            print(f"left out: {library} ({first_line(error)})")
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

        def of_logits(z: Tensor, y: Tensor) -> float:
            return float(kind(task="multiclass", num_classes=c, num_bins=15)(z, y))

        made.append(("torch-uncertainty", "CalibrationError", lambda z: z, of_logits))
    if "netcal" in there:
        measure = importlib.import_module("netcal.metrics").ECE(bins=15).measure
        made.append(("netcal", "ECE", probabilities, lambda p, y: float(measure(p, y.numpy()))))
    return made
