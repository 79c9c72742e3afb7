"""WebDataset: tars in which the files of one example share a name."""

from __future__ import annotations

from pathlib import Path

from reclaim.core.errors import BadInput
from reclaim.core.kinds import kind_of_file
from reclaim.data.guesses import Columns
from reclaim.data.places import split_of, tars_of
from reclaim.data.records import Data
from reclaim.data.report import LeftOut
from reclaim.data.rows import data_of_tables
from reclaim.data.tars import TarTable, open_tars

__all__ = ["webdataset"]


def webdataset(source: str, columns: Columns = Columns(), *, labelled: bool = True) -> Data:
    """Examples in tars: one, a folder of them, or a pattern such as ``train-{000..009}.tar``.

    Files that share a path up to the first dot are one example. Its columns are their suffixes (``jpg``, ``txt``,
    ``cls``) and the keys of its ``json``; numbers in ``cls`` have the names in ``classes.txt`` or ``classnames.txt``
    beside the tars. Nothing is unpacked to the disk, and nothing is ever unpickled. Only places are kept in memory.

    Args:
        columns: which suffixes or keys hold what.
        labelled: whether labels are read.

    Raises: BadInput if an archive is broken or compressed, or lacks a column.
    Source: the format of the library webdataset.
    """
    files = tars_of(source)
    for file in files:
        if (kind := kind_of_file(file)) != "tar":
            hint = " It is compressed; unpack it to a .tar, whose rows can be read one by one." * (kind == "packed")
            raise BadInput(f"{file} is no tar.{hint}")
    root = Path(source) if Path(source).is_dir() else files[0].parent
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(split_of(file, root) or "all", []).append(file)
    beside = by_split.pop("all", []) if len(by_split) > 1 else []
    order = [split for split in ("train", "val", "test", "all") if split in by_split]
    tables: dict[str, TarTable] = {split: open_tars(by_split[split], root) for split in order}
    left = [LeftOut.of("archives whose name is that of no split", map(str, beside))] if beside else []
    for table in tables.values():
        left += table.left_out
    return data_of_tables(
        tables,
        source,
        columns,
        labelled=labelled,
        files={split: [file.name for file in by_split[split]] for split in order},
        left_out=left,
    )
