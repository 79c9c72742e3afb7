"""One self-contained page from snapshots and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jinja2 import Environment, PackageLoader

from reclaim.core.terminal import printable
from reclaim.repairs.alpha import ChosenAlpha
from reclaim.report.evaluate import Evaluation, evaluate
from reclaim.report.finding import Finding
from reclaim.report.page.charts import Line, line_chart, tradeoff_chart
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.metrics.tradeoff import Curve, curve_of, steps_of
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["render"]


def render(
    snapshots: Mapping[str, Snapshot],
    findings: Sequence[Finding],
    *,
    title: str = "What fine-tuning did, and what came back",
    story: Sequence[tuple[str, str]] = (),
    mix: ChosenAlpha | None = None,
) -> str:
    """The report page.

    Args:
        snapshots: answers of each model on the same rows, by name ("before", "after", "repaired", …), in order.
        findings: the diagnoses.
        story: what was done, as (term, sentence).
        mix: the alpha of the mixture, and those that were tried.

    Returns: HTML, a few ten kilobytes, without a script or a foreign address.
    """
    rows = {name: evaluate(snapshot) for name, snapshot in snapshots.items()}
    first = next(iter(rows.values()))
    environment = Environment(
        loader=PackageLoader("reclaim", "report/page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f}"
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment.get_template("page.html").render(
        title=title,
        rows=rows,
        first=first,
        classes=len(next(iter(snapshots.values())).seen),
        num_seen=int(next(iter(snapshots.values())).seen.sum()),
        tradeoff=_tradeoff(snapshots, rows),
        mix=mix,
        mixing=_mixing(mix),
        findings=sorted(findings, key=lambda finding: not finding.damaged),
        story=story,
    )


def _shown(value: object) -> object:
    """What the page shows of a value: no name turns the text around it, or hides a part of itself."""
    return type(value)(printable(value)) if isinstance(value, str) else value


def _tradeoff(snapshots: Mapping[str, Snapshot], rows: Mapping[str, Evaluation]) -> str:
    """The curves, or nothing where one group has no rows."""
    curves: dict[str, tuple[Curve, float, float]] = {}
    for name, s in snapshots.items():
        seen, absent = rows[name].accuracy.seen, rows[name].accuracy.absent
        told = rows[name].tradeoff.area is not None  # a model that lacks all absent classes has no curve
        if told and seen is not None and absent is not None and s.labels is not None:
            curves[name] = (curve_of(steps_of(margins(s.logits, s.labels, s.seen))), seen, absent)
    return tradeoff_chart(curves) if curves else ""


_MIXING = {"repaired": "all", "after": "seen", "before": "absent"}  # the colour that each accuracy takes


def _mixing(mix: ChosenAlpha | None) -> str:
    if mix is None or not mix.tried:
        return ""
    x, lines = torch.tensor([t.alpha for t in mix.tried], dtype=torch.float64), []
    for name, key in _MIXING.items():
        y = torch.tensor([getattr(t, key) for t in mix.tried], dtype=torch.float64)
        at = int((x - mix.alpha).abs().argmin())
        lines.append(Line(name, x, y, (float(x[at]), float(y[at]), f"{key} at alpha {x[at]:g}: {y[at]:.1%}")))
    return line_chart(lines, "alpha, the share of the fine-tuned model", "accuracy", "Accuracy by alpha")
