"""A dataset of a hub, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.data.arrow import tables_of
from reclaim.data.guesses import Columns
from reclaim.data.records import Data
from reclaim.data.rows import data_of_tables

__all__ = ["hub"]

PATIENCE = 5.0  # seconds for the one look whether the hub is there


def hub(source: str, columns: Columns = Columns(), *, labelled: bool = True) -> Data:
    """``OWNER/NAME``, or ``OWNER/NAME:CONFIGURATION``, of a hub, downloaded once and kept by `datasets`.

    The hub is looked for once, for five seconds. Where it cannot be reached, the copy that `datasets` kept is read. No
    code of the dataset is run.

    Args:
        columns: which columns hold what.
        labelled: whether labels are read.

    Raises: BadInput, with the local forms, if the hub cannot be reached and there is no copy, or if it has no such
        dataset.
    Source: the library datasets.
    """
    name, _, configuration = source.removeprefix("hf://datasets/").partition(":")
    datasets = require("datasets", extra="data")
    datasets.disable_progress_bars()
    away = _look(name)
    config, before = datasets.config, datasets.config.HF_HUB_OFFLINE
    try:
        config.HF_HUB_OFFLINE = before or away is not None  # else the library would try again for half a minute
        loaded = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # the library has a class for every way in which this fails
        reason = away or (str(error) or type(error).__name__).splitlines()[0]
        raise _unreached(source, name, reason) from error
    finally:
        config.HF_HUB_OFFLINE = before
    return data_of_tables(tables_of(loaded, Path(name)), source, columns, labelled=labelled, files={})


def _look(name: str) -> str | None:
    """Why the hub cannot be asked for a dataset; None if it can.

    Raises: BadInput if it has none of that name.
    """
    hub = require("huggingface_hub", extra="data")
    errors: Any = require("huggingface_hub.errors", extra="data")
    if hub.constants.HF_HUB_OFFLINE:
        return "the environment variable HF_HUB_OFFLINE is set"
    try:
        hub.HfApi().dataset_info(name, timeout=PATIENCE)
    except errors.RepositoryNotFoundError as error:
        raise _unreached(name, name, "it is none of the hub's, or a private one") from error
    except Exception as error:  # whatever the network says
        return f"it did not answer within {PATIENCE:g} seconds ({(str(error) or type(error).__name__).splitlines()[0]})"
    return None


def _unreached(source: str, name: str, reason: str) -> BadInput:
    return BadInput(
        f"there is no file or folder {source}, and as a dataset of the hub {name} cannot be had: {reason}.\n"
        f"  Give a local form: a folder with its files (its Parquet, CSV or JSON lines, as in {name.rpartition('/')[2]}"
        "/data/train-00000-of-00001.parquet), or a folder that `save_to_disk` of datasets wrote."
    )
