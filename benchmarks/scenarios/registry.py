"""All families, the cheap ones first."""

from __future__ import annotations

from scenarios import Family, cld3, digits, intents, pictures

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (*digits.FAMILIES, *cld3.FAMILIES, *intents.FAMILIES, *pictures.FAMILIES)
