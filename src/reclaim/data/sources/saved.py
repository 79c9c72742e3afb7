"""A folder that `datasets` saved: one split, or several."""

from __future__ import annotations

from pathlib import Path

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.data.arrow import tables_of
from reclaim.data.guesses import Columns
from reclaim.data.records import Data
from reclaim.data.rows import data_of_tables

__all__ = ["saved"]


def saved(source: str, columns: Columns = Columns(), *, labelled: bool = True) -> Data:
    """Rows that `save_to_disk` of `datasets` wrote; they stay on the disk until they are used.

    Args:
        columns: which columns hold what.
        labelled: whether labels are read.

    Raises: BadInput if the folder is broken, or lacks a column.
    Source: the library datasets.
    """
    datasets = require("datasets", extra="data")
    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_from_disk(source)
    except Exception as error:  # the library wraps every fault of a folder in a different class
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{source} cannot be read as a folder that `datasets` saved: {reason}") from error
    return data_of_tables(tables_of(loaded, Path(source)), source, columns, labelled=labelled, files={})
