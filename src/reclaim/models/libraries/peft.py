"""Adapters of peft, in the folders that it writes."""

from __future__ import annotations

from pathlib import Path

from reclaim.core.errors import BadInput
from reclaim.models.adapter_files import base_of, is_adapter, with_adapter
from reclaim.models.classifier import Classifier
from reclaim.models.directory import load_model
from reclaim.models.state_dicts import Which

__all__ = ["peft"]


def peft(
    name: str, checkpoint: Path | None = None, head: str | None = None, weights: Which | None = None
) -> Classifier:
    """An adapter in a folder, merged into the model that its record names as its base: peft/my_adapter.

    Source: peft.PeftModel.
    """
    folder = Path(name) if checkpoint is None else checkpoint
    if not is_adapter(folder):
        raise BadInput(f"{folder} is no folder of an adapter: it holds no adapter_config.json.")
    return with_adapter(load_model(base_of(folder), head, weights=weights), folder)
