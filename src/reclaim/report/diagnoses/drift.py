"""Which layers moved, and how far?"""

from __future__ import annotations

from collections import defaultdict

from reclaim.core.errors import few
from reclaim.models.weights import is_running_statistic
from reclaim.report.finding import Finding
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["drift"]


def drift(before: Snapshot, after: Snapshot) -> Finding:
    """Which layers moved, and how far?

    Value: the distance between the weights, relative to the norm of the pretrained ones. Having moved is not damage
    by itself, so this never counts as such; it says where to look. A head for other classes is left out and named.

    Source: Reclaim.
    """
    question = "Which layers moved, and how far?"
    if before.weights is None or after.weights is None:
        return Finding(question, None, False, "Not measured: the weights of both models are needed.")
    shapes, others = ({name: t.shape for name, t in rows.items()} for rows in (before.weights, after.weights))
    apart = [name for name, shape in shapes.items() if others.get(name) != shape]
    if shapes.keys() != others.keys() or any(shapes[name][1:] != others[name][1:] for name in apart):
        return Finding(question, None, False, "Not measured: the two models are not the same architecture.")
    moved: dict[str, float] = defaultdict(float)
    norm: dict[str, float] = defaultdict(float)
    for name, start in before.weights.items():
        if start.is_floating_point() and not is_running_statistic(name) and name not in apart:
            layer = _layer(name)
            moved[layer] += float((after.weights[name].to(start.device).double() - start.double()).square().sum())
            norm[layer] += float(start.double().square().sum())
    total = (sum(moved.values()) / max(sum(norm.values()), 1e-300)) ** 0.5
    relative = {layer: (moved[layer] / max(norm[layer], 1e-300)) ** 0.5 for layer in moved}
    farthest = sorted(relative, key=lambda layer: -relative[layer])[:3]
    still = sum(value == 0 for value in relative.values())
    where = ", ".join(f"{layer} ({relative[layer]:.1%})" for layer in farthest)
    without = f" Left out, for it answers other classes: {few(dict.fromkeys(map(_layer, apart)))}." if apart else ""
    return Finding(
        question,
        value=total,
        damaged=False,
        verdict=f"The weights moved by {total:.1%} of their norm; {still} of {len(relative)} layers did not move. "
        f"Farthest: {where}.{without}",
        evidence={"relative_distance": total, "layers": len(relative), "unmoved": still}
        | {f"layer {layer}": relative[layer] for layer in farthest},
    )


def _layer(name: str) -> str:
    """What a tensor belongs to."""
    return name.rpartition(".")[0] or name
