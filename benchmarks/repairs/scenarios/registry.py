"""All families, the cheap ones first."""

from __future__ import annotations

from benchmarks.repairs.scenarios import cld3, digits, intents, pictures
from benchmarks.repairs.scenarios.records import Family

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (*digits.FAMILIES, *cld3.FAMILIES, *intents.FAMILIES, *pictures.FAMILIES)
