"""Accuracy by group of classes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reclaim.core.arrays import Array, as_tensor, beside
from reclaim.core.checks import as_labels, check_labels, check_logits, check_seen
from reclaim.snapshots.metrics.margins import Margins, margins

__all__ = ["Accuracy", "accuracy", "accuracy_of", "harmonic_mean", "wilson_interval"]


@dataclass(frozen=True)
class Accuracy:
    """Fractions in [0, 1]; None where no row of the group exists.

    Attributes:
        all, seen, absent: rows of that group, all classes competing.
        seen_among_seen, absent_among_absent: rows and columns of one group; no offset changes them.
        harmonic: harmonic mean of `seen` and `absent`.
    """

    all: float | None
    seen: float | None
    absent: float | None
    seen_among_seen: float | None
    absent_among_absent: float | None
    harmonic: float | None


def accuracy(logits: Array, labels: Array, seen: Array) -> Accuracy:
    """Accuracy of [N, C] logits by group of the label. Of equal logits the first column wins, as in argmax.

    Source: Mai et al., "Fine-Tuning is Fine, if Calibrated", NeurIPS 2024 (Acc_{Y/Y}, Acc_{S/Y}, Acc_{U/Y}, …).
    """
    return accuracy_of(margins(*checked(logits, labels, seen)))


def accuracy_of(m: Margins) -> Accuracy:
    """The accuracies that the margins of some rows imply."""
    seen, absent = _mean(m.right[m.is_seen]), _mean(m.right[~m.is_seen])
    return Accuracy(
        all=_mean(m.right),
        seen=seen,
        absent=absent,
        seen_among_seen=_mean(m.hit[m.is_seen]),
        absent_among_absent=_mean(m.hit[~m.is_seen]),
        harmonic=None if seen is None or absent is None else harmonic_mean(seen, absent),
    )


def harmonic_mean(a: float, b: float) -> float:
    """2ab / (a + b), and 0 where both are 0."""
    return 2 * a * b / (a + b) if a + b else 0.0


def wilson_interval(fraction: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """The score interval of a fraction of n rows (95 % by default), which stays inside [0, 1].

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    centre, spread = fraction + z * z / (2 * n), z * (fraction * (1 - fraction) / n + z * z / (4 * n * n)) ** 0.5
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def checked(logits: Array, labels: Array, seen: Array) -> tuple[Tensor, Tensor, Tensor]:
    """The three as tensors where the logits lie, once they are known to fit together."""
    z = as_tensor(logits)
    check_logits(z)
    y, is_seen = check_labels(as_labels(labels), *z.shape), check_seen(as_tensor(seen), z.shape[1])
    return z, beside(y, z, "labels"), beside(is_seen, z, "seen")


def _mean(mask: Tensor) -> float | None:
    return float(mask.double().mean()) if len(mask) else None
