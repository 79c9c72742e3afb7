"""Records compared, numbers within a distance."""

from typing import Any

import pytest


def close(a: Any, b: Any, within: float, at: str = "") -> None:
    """Raise unless two records agree, numbers to so much."""
    if isinstance(a, dict):
        assert isinstance(b, dict) and a.keys() == b.keys(), at
        for key in a:
            close(a[key], b[key], within, f"{at}.{key}")
    elif isinstance(a, list):
        assert isinstance(b, list) and len(a) == len(b), at
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            close(x, y, within, f"{at}[{index}]")
    elif isinstance(a, float):
        assert b == pytest.approx(a, rel=within, abs=within), f"{at}: {a} and {b}"
    else:
        assert a == b, f"{at}: {a} and {b}"
