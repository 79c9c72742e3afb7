"""Records as JSON: what is not finite has no place in it, and is named."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from reclaim.core.errors import BadInput, few

__all__ = ["json_text"]


def json_text(record: object, indent: int | None = None) -> str:
    """The record as JSON text.

    Raises: BadInput if it holds NaN or infinity, which JSON has not, naming where.
    """
    try:
        return json.dumps(record, indent=indent, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        where = few(_not_finite(record)) or str(error)
        raise BadInput(
            f"what comes out is not finite, and not JSON compliant: {where}.\n"
            "  The logits are probably too large or too far apart to compute with, or there are too few rows."
        ) from error


def _not_finite(record: object, place: str = "") -> Iterator[str]:
    """Where a record holds numbers that are not finite, and what they are."""
    if isinstance(record, float) and not math.isfinite(record):
        yield f"{place or 'the result'} is {record}"
    elif isinstance(record, Mapping):
        for key, value in record.items():
            yield from _not_finite(value, f"{place}.{key}" if place else str(key))
    elif isinstance(record, Sequence) and not isinstance(record, str):
        for index, value in enumerate(record):
            yield from _not_finite(value, f"{place}[{index}]")
