"""All ways of trying."""

from __future__ import annotations

from tests.battery.killing import KILLS
from tests.battery.naming import FOLDERS, NAMES, PAGES
from tests.battery.options import OPTIONS
from tests.battery.readers import READERS

__all__ = ["KINDS"]

KINDS = (*(reader.kind() for reader in READERS), OPTIONS, PAGES, NAMES, FOLDERS, KILLS)
