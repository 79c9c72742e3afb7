"""Rules for alpha, from the answers of all mixtures on held-out rows of seen classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.repairs.cases import AFTER, Answers
from reclaim.calibration.evidence import Evidence
from reclaim.core.registry import find
from reclaim.repairs.alpha import ALPHAS
from reclaim.snapshots.metrics.margins import margins

__all__ = ["RULES", "within_errors"]

Rule = Callable[[Answers], float]


def within_errors(held: Answers, errors: float) -> float:
    """The smallest alpha within so many standard errors of the best seen accuracy."""
    right = _hits(held).double().mean(dim=1)
    top = right.max()
    return _first(right >= top - errors * (top * (1 - top) / held.weights.shape[1]).sqrt())


def keeping(held: Answers, share: float) -> float:
    """The smallest alpha that keeps this share of the rows that the fine-tuned network has right."""
    right = _hits(held)
    return _first((right & right[-1]).sum(dim=1) >= share * right[-1].sum())


def most_likely(held: Answers) -> float:
    """The best likelihood of the labels, among seen classes."""
    return ALPHAS[int(_nll(held).argmin())]


def farthest_from_the_chord(held: Answers) -> float:
    """Where that likelihood, along the path, bends away most from the line between its ends."""
    nll, share = _nll(held), torch.tensor(ALPHAS, dtype=torch.float64)
    return ALPHAS[int((nll - torch.lerp(nll[0], nll[-1], share)).argmin())]


def agreeing_with_both(held: Answers) -> float:
    """The most rows answered as one network does plus those answered as the other does, each group by itself."""
    total = torch.zeros(len(ALPHAS))
    for group in (held.seen, ~held.seen):
        answers = held.weights[:, :, group].argmax(dim=2)
        total += sum((answers == answers[end]).float().mean(dim=1) for end in (0, -1))
    return ALPHAS[int(total.argmax())]


def drifted(held: Answers, share: float) -> float:
    """The largest alpha at which absent logits, less their mean, went at most this share of their way."""
    absent = held.weights[:, :, ~held.seen].double()
    absent = absent - absent.mean(dim=2, keepdim=True)
    drift = (absent - absent[0]).square().sum(dim=(1, 2)).sqrt()
    return max(alpha for alpha, gone in zip(ALPHAS, (drift <= share * drift[-1]).tolist(), strict=True) if gone)


def own_class_left_out(held: Answers) -> float:
    """The best balance of seen and absent accuracy where rows whose own class is left out stand for absent ones."""
    gains, labels = [], _labels(held)
    for alpha in ALPHAS:
        rows = held["weights", alpha]
        offset = find("selectors", "own-class-left-out")(Evidence(seen=rows)).offset
        z = rows.logits + offset * ~rows.seen
        kept = float(margins(z, labels, rows.seen).right.double().mean())
        others = z.scatter(1, labels[:, None], -torch.inf)
        free = float((~rows.seen)[others.argmax(dim=1)].double().mean())
        gains.append(kept + free)
    return ALPHAS[max(range(len(ALPHAS)), key=gains.__getitem__)]


def share_of_seen(held: Answers) -> float:
    """The share of classes that are seen."""
    share = float(held.seen.double().mean())
    return min(ALPHAS, key=lambda alpha: abs(alpha - share))


def _labels(held: Answers) -> Tensor:
    return held[AFTER].known_labels


def _hits(held: Answers) -> Tensor:
    return held.weights.argmax(dim=2) == _labels(held)


def _nll(held: Answers) -> Tensor:
    z = held.weights[:, :, held.seen].double()
    own = held.weights.double().gather(2, _labels(held).expand(len(ALPHAS), -1)[:, :, None]).squeeze(2)
    return (z.logsumexp(dim=2) - own).mean(dim=1)


def _first(allowed: Tensor) -> float:
    return next(alpha for alpha, kept in zip(ALPHAS, allowed.tolist(), strict=True) if kept)


RULES: dict[str, Rule] = {
    "one half": lambda held: 0.5,
    "share of seen classes": share_of_seen,
    "retention: best seen accuracy": lambda held: within_errors(held, 0),
    "retention: within one error of it": lambda held: within_errors(held, 1),
    "retention: 95 % of the fine-tuned network's hits": lambda held: keeping(held, 0.95),
    "retention: 90 % of them": lambda held: keeping(held, 0.9),
    "best likelihood among seen classes": most_likely,
    "curvature: where that bends most along the path": farthest_from_the_chord,
    "agreement with both networks, each group by itself": agreeing_with_both,
    "drift: half of that of the absent logits": lambda held: drifted(held, 0.5),
    "drift: a quarter": lambda held: drifted(held, 0.25),
    "pseudo-absent: own class left out": own_class_left_out,
}
