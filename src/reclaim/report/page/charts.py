"""Arrays in, SVG out: plain lines that need no script and no foreign address."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from reclaim.snapshots.metrics.tradeoff import Curve

__all__ = ["Line", "line_chart", "tradeoff_chart"]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 400, 64, 16, 28, 52
MOST_POINTS = 400  # per line; more cannot be told apart at this size


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: for the legend, and the class of the SVG elements ("line-before").
        x, y: its points, [K] each.
        mark: a point to mark on it, such as where the model stands, with what to say of it.
    """

    name: str
    x: Tensor
    y: Tensor
    mark: tuple[float, float, str] | None = None


def tradeoff_chart(curves: dict[str, tuple[Curve, float, float]]) -> str:
    """Absent against seen accuracy, one curve per model, each with its (seen, absent) accuracy as it stands marked."""
    lines = [
        Line(name, curve.seen, curve.absent, (seen, absent, f"{name}: seen {seen:.1%}, absent {absent:.1%}"))
        for name, (curve, seen, absent) in curves.items()
    ]
    return line_chart(lines, "accuracy on seen classes", "accuracy on absent classes", "Absent against seen accuracy")


def line_chart(lines: list[Line], x_title: str, y_title: str, title: str, x_range: tuple[float, float] = (0, 1)) -> str:
    """A chart of fractions in [0, 1] over `x_range`."""
    low, high = x_range

    def place(x: float, y: float) -> str:
        across = LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{TOP + (1 - y) * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    for step in range(6):
        share = step / 5
        x, y = place(low + share * (high - low), share).split(",")
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{share:.0%}</text>')
        label = f"{share:.0%}" if x_range == (0, 1) else f"{low + share * (high - low):g}"
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>'
    )
    parts.append(f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>')
    for line in lines:
        points = " ".join(place(x, y) for x, y in _thinned(line))
        parts.append(f'<polyline class="line line-{escape(line.name)}" points="{points}"/>')
    for line in lines:
        if line.mark:
            x, y = place(*line.mark[:2]).split(",")
            title = f"<title>{escape(line.mark[2])}</title>"
            parts.append(f'<circle class="mark mark-{escape(line.name)}" cx="{x}" cy="{y}" r="6">{title}</circle>')
    return "".join(parts) + "</svg>"


def _thinned(line: Line) -> list[tuple[float, float]]:
    """The line's points, at most `MOST_POINTS`, evenly chosen, both ends among them."""
    count = len(line.x)
    which = torch.linspace(0, count - 1, min(count, MOST_POINTS)).round().long()
    return list(zip(line.x[which].tolist(), line.y[which].tolist(), strict=True))
