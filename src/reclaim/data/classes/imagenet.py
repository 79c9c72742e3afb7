"""Names of ImageNet's classes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["imagenet_ids"]


@cache
def imagenet_ids() -> tuple[str, ...]:
    """The WordNet ids of ImageNet-1k's classes, in the order every library uses."""
    return tuple((Path(__file__).parent / "imagenet1k.txt").read_text(encoding="utf-8").split())
