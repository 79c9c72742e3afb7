"""Frozen records that correct their own fields once, while they are made."""

from __future__ import annotations

from typing import Any

__all__ = ["store"]


def store(record: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass; for its `__post_init__` alone."""
    for name, value in values.items():
        object.__setattr__(record, name, value)
