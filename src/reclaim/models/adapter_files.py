"""Adapters in folders, as peft writes them: put on a base, and written out again."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reclaim.core import disk
from reclaim.core.errors import Argument, BadInput, few
from reclaim.core.extras import require
from reclaim.core.records import read_json
from reclaim.data.inputs.protocol import Inputs
from reclaim.models.adapter_pairs import check_start, taken_apart
from reclaim.models.adapters import as_peft, changes_biases, quiet
from reclaim.models.classifier import Classifier
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.samples import sample_inputs

__all__ = ["base_of", "is_adapter", "save_adapter", "with_adapter"]

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter of peft."""
    return (folder / CONFIG).is_file()


def base_of(folder: Path) -> str:
    """The name of the model that an adapter's record says it was trained on: a directory, or one of transformers.

    Raises: BadInput if it names none, or a path that is not there.
    """
    named = _record(folder).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise BadInput(
            f"{folder} does not say which model its adapter belongs to.", Argument("before", "name the base")
        )
    if Path(named).is_dir():
        return named
    if Path(named).is_absolute() or named.startswith("."):
        raise BadInput(
            f"{folder} says that its adapter belongs to {named}, and that is not there.",
            Argument("before", "name the base, where it lies now"),
        )
    return f"transformers/{named}"


def with_adapter(base: Classifier, folder: Path, initial: Path | None = None) -> Classifier:
    """The base with the adapter in a folder merged into its weights, and on record beside them.

    A head that was saved with the adapter takes the place of the base's; if it answers another number of classes, their
    names are not known.

    Args:
        initial: the folder of the adapter as it was before training, where its beginning changed the base.

    Raises: BadInput if the adapter is broken, does not fit the base, or cannot be merged.
    """
    peft = require("peft", extra="peft")
    kind = _record(folder).get("peft_type")
    if kind not in set(peft.PeftType):
        raise BadInput(f"{folder / CONFIG} names a kind of adapter that peft does not know: {kind!r:.60}.")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise BadInput(f"{folder} holds no weights of an adapter: neither {' nor '.join(WEIGHTS)}.")
    try:
        with quiet():
            config = peft.PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # whatever peft's record trips over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"{folder / CONFIG} is no whole record of an adapter: {reason:.300}") from error
    check_start(config, initial)
    try:
        with quiet():
            theta = peft.load_peft_weights(str(folder), device="cpu")
            ready = _with_head_of(base, theta)
            wrapped = peft.PeftModel.from_pretrained(copy.deepcopy(ready.module), str(folder), torch_device="cpu")
    except Exception as error:  # a damaged file ends in any class of the libraries that read it
        reason = " ".join((str(error) or type(error).__name__).splitlines()[:2])
        raise BadInput(f"the adapter in {folder} does not fit {base.library}/{base.name}: {reason:.300}") from error
    if not any(f".{name}." in f".{key}." for key in theta for name in dict(ready.module.named_modules()) if name):
        raise BadInput(
            f"the adapter in {folder} has none of the layers of {base.library}/{base.name}: {few(theta, 3)}."
        )
    given = ready.module if changes_biases(wrapped.peft_config["default"]) else None
    _, on, adapter = taken_apart(wrapped.eval(), _taken_inputs(ready), initial=initial, base=given)
    same = ready.num_outputs == base.num_outputs
    named = replace(ready, classes=base.classes if same else (), namings=base.namings if same else ())
    return replace(named, module=on, seen=None, adapter=replace(adapter, base=base.module))


def save_adapter(folder: Path, model: Classifier) -> None:
    """Write the classifier's adapter into a folder that exists, as peft reads it; the base is not written."""
    assert model.adapter is not None
    wrapped = as_peft(model.adapter, model.head, model.weights)
    with disk.writing(folder), quiet():
        wrapped.save_pretrained(str(folder), save_embedding_layers=False)


def _record(folder: Path) -> dict[str, Any]:
    record = read_json(folder / CONFIG)
    if not isinstance(record, dict):
        raise BadInput(f"{folder / CONFIG} is no record of an adapter.")
    return record


def _with_head_of(base: Classifier, theta: dict[str, torch.Tensor]) -> Classifier:
    """A copy of the base, with room for the head that was saved with an adapter."""
    weight = theta.get(f"base_model.model.{base.head}.weight")
    copied = base.copy()
    if weight is None or weight.ndim != base.last_layer.weight.ndim or len(weight) == base.num_outputs:
        return copied
    layer, fresh = copied.last_layer, copy.deepcopy(copied.last_layer)
    fresh.weight = nn.Parameter(layer.weight.new_zeros(len(weight), *layer.weight.shape[1:]))
    fresh.bias = None if layer.bias is None else nn.Parameter(layer.bias.new_zeros(len(weight)))
    if isinstance(fresh, nn.Linear):
        fresh.out_features = len(weight)
    else:
        fresh.out_channels = len(weight)
    parent, _, own = base.head.rpartition(".")
    setattr(copied.module.get_submodule(parent), own, fresh)
    return copied


def _taken_inputs(model: Classifier) -> Inputs:
    """Inputs, made up, that the network takes."""
    taken = next((x for x in sample_inputs(model.module, model.preprocess) if _takes(model.module, x)), None)
    if taken is None:
        raise BadInput(
            f"{model.library}/{model.name} takes none of the inputs that were made up to compare its adapter, merged, "
            "with what peft answers.\n  Repair it in Python: repair(wrapped, loader, seen=…)."
        )
    return taken


@torch.no_grad()
def _takes(module: nn.Module, x: Inputs) -> bool:
    try:
        with evaluating(module):
            logits_of(module, x)
    except Exception:  # whatever a network says of inputs it was not made for
        return False
    return True
