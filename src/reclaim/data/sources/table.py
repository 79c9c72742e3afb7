"""Tables: an ``.npz`` of encoded images or arrays; CSV, JSON lines or Parquet, in one file or a folder of them."""

from __future__ import annotations

from pathlib import Path

from reclaim.core.errors import BadInput, few
from reclaim.core.kinds import kind_of_file
from reclaim.core.tables import Stacked, Table, open_table
from reclaim.data.guesses import Columns
from reclaim.data.npz import data_of_npz
from reclaim.data.places import split_of, tables_in
from reclaim.data.records import Data
from reclaim.data.report import LeftOut
from reclaim.data.rows import data_of_tables

__all__ = ["table"]


def table(source: str, columns: Columns = Columns(), *, labelled: bool = True) -> Data:
    """Examples in tables, with labels and class names.

    A file is known by its content. The columns are guessed from common names where they are not said: images are bytes,
    ``{bytes, path}`` as `datasets` writes them, or paths relative to the table; labels are numbers or names of classes.
    In a folder, the names of files (``train.csv``, ``data/test-00000-of-00002.parquet``) or their folders tell the
    split; in one file, the column `split`, or there is one split "all". An ``.npz`` is described in `data_of_npz`.

    Args:
        columns: which columns hold what.
        labelled: whether labels are read.

    Raises: BadInput if a file is broken or lacks a column.
    Source: your own files.
    """
    path = Path(source)
    if path.is_dir():
        return _folder(path, columns, labelled=labelled)
    if not path.is_file():
        raise BadInput(f"there is no file {source}.")
    kind = kind_of_file(path)
    if kind == "npz" or (kind == "other" and path.suffix == ".npz"):
        return data_of_npz(path, columns)
    if kind == "other" and path.suffix == ".parquet":
        kind = "parquet"  # and broken
    return data_of_tables({"all": open_table(path, kind)}, source, columns, labelled=labelled)


def _folder(path: Path, columns: Columns, *, labelled: bool) -> Data:
    by_split: dict[str | None, list[Path]] = {}
    for file in tables_in(path):
        by_split.setdefault(split_of(file, path), []).append(file)
    beside = by_split.pop(None, []) if len(by_split) > 1 else []
    if not by_split:
        raise BadInput(f"{path} holds no tables (CSV, JSON lines or Parquet).")
    order = [split for split in ("train", "val", "test", None) if split in by_split]
    tables: dict[str, Table] = {split or "all": _stacked(by_split[split], path) for split in order}
    return data_of_tables(
        tables,
        str(path),
        columns,
        labelled=labelled,
        files={split or "all": [file.name for file in by_split[split]] for split in order},
        left_out=[LeftOut.of("tables whose name is that of no split", map(str, beside))] if beside else (),
    )


def _stacked(files: list[Path], folder: Path) -> Table:
    opened = [open_table(file) for file in files]
    if len({file.parent for file in files}) > 1:
        raise BadInput(f"tables of one split lie in several folders: {few(files)}. Put them into one.")
    return opened[0] if len(opened) == 1 else Stacked(opened, files[0].parent)
