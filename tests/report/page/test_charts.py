"""Charts: points land where they belong."""

import re

import torch

from reclaim.report.page.charts import Line, line_chart


def test_the_corners_of_the_unit_square_are_the_corners_of_the_frame() -> None:
    svg = line_chart([Line("a", torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))], "x", "y", "t")
    assert re.search(r'class="line line-a" points="64\.0,348\.0 612\.0,16\.0"', svg)


def test_a_long_line_keeps_both_ends() -> None:
    x = torch.linspace(0, 1, 5001)
    points = re.search(r'points="([^"]+)"', line_chart([Line("a", x, x)], "x", "y", "t"))[1].split()
    assert len(points) == 400 and points[0] == "64.0,348.0" and points[-1] == "612.0,16.0"


def test_titles_are_escaped() -> None:
    assert "<b>" not in line_chart([], "<b>", "<b>", "<b>")
