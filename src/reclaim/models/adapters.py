"""Adapters of peft: what they are, and how one that goes part of the way is written out."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from reclaim.core.extras import require
from reclaim.models.weights import Weights

__all__ = [
    "Adapter",
    "Form",
    "as_peft",
    "called",
    "changes_biases",
    "is_adapted",
    "put_into",
    "quiet",
    "rewrites",
    "saved_parts",
    "tensors_of",
    "unscalable",
]

Form: TypeAlias = Literal["adapter", "merged"]

REWRITE = ("pissa", "olora", "corda", "lora_ga", "loftq")  # initialisations that change the weights of the base


@dataclass(frozen=True, eq=False)
class Adapter:
    """What a classifier's weights are made of, beside those of a base.

    Attributes:
        base: the network without the adapter.
        config: peft's record of the adapter.
        tensors: the adapter's weights, as peft stores them.
        name: what the adapter is called among others.
        alpha: how much of it there is; 0 is the base, 1 the adapter as it was trained.
    """

    base: nn.Module
    config: Any
    tensors: Weights
    name: str = "default"
    alpha: float = 1.0


def is_adapted(thing: object) -> bool:
    """Whether it is a network that peft has wrapped; peft is not imported to know it."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(thing, peft.PeftModel)


def unscalable(adapter: Adapter, head: str, *, biased: bool) -> str:
    """Why the adapter cannot be written out part of the way, with an offset in the head; empty if it can.

    Args:
        head: the dotted name of the network's head.
        biased: whether the base's head has a bias.
    """
    config, what = adapter.config, called(adapter.config)
    if config.peft_type.value != "LORA" or config.use_dora:
        return f"peft knows no scale for {what}"
    if rewrites(config):
        return f"{what} goes with a changed base"
    if changes_biases(config):
        return f"{what} has biases of the base too"
    if getattr(config, "trainable_token_indices", None):
        return f"{what} has rows of an embedding too"
    if any(f"base_model.model.{head}." in key and "lora_" in key for key in adapter.tensors):
        return f"the head {head!r} has an adapter itself, and no room for an offset"
    return "" if biased else f"the head {head!r} has no bias, and an adapter cannot bring one"


def as_peft(adapter: Adapter, head: str, theta: Mapping[str, Tensor]) -> Any:
    """The base with its adapter, scaled by alpha, as a `PeftModel`; the parts that it saves whole have these weights.

    Args:
        head: the dotted name of the head, which is saved whole too.
        theta: the weights of the network that the result is to be.
    """
    peft = require("peft", extra="peft")
    config = copy.deepcopy(adapter.config)
    started, base = config.init_lora_weights, config.base_model_name_or_path
    config.init_lora_weights, config.inference_mode = True, True
    config.lora_alpha = _scaled(config.lora_alpha, adapter.alpha)
    config.alpha_pattern = {key: _scaled(one, adapter.alpha) for key, one in (config.alpha_pattern or {}).items()}
    saved = list(config.modules_to_save or [])
    if not any(head == one or head.endswith(f".{one}") for one in saved):
        saved.append(head)
    config.modules_to_save = saved
    with quiet():
        wrapped = peft.get_peft_model(copy.deepcopy(adapter.base), config, adapter.name)
        parts = tuple(f"{name}." for name, _ in saved_parts(wrapped))
        whole = {f"base_model.model.{key}": tensor for key, tensor in theta.items() if key.startswith(parts)}
        peft.set_peft_model_state_dict(wrapped, adapter.tensors | whole, adapter.name)
    own = wrapped.peft_config[adapter.name]
    own.init_lora_weights, own.base_model_name_or_path = started, base or own.base_model_name_or_path
    return wrapped.eval()


def put_into(wrapped: Any, repaired: Any) -> bool:
    """Give a `PeftModel` the weights and the scale of another one of the same parts; False where these differ."""
    theta = repaired.state_dict()
    if not is_adapted(repaired) or theta.keys() != wrapped.state_dict().keys():
        return False
    wrapped.load_state_dict(theta)
    layer = require("peft.tuners.lora", extra="peft").LoraLayer
    for own, other in zip(wrapped.modules(), repaired.modules(), strict=True):
        if isinstance(own, layer):
            own.scaling, own.lora_alpha = dict(other.scaling), dict(other.lora_alpha)
    for name, config in repaired.peft_config.items():
        wrapped.peft_config[name] = copy.deepcopy(config)
    return True


def _scaled(number: float, alpha: float) -> float:
    """A scale times alpha; whole numbers stay whole, as other programs read them."""
    product = number * alpha
    return int(product) if float(product).is_integer() else product


def called(config: Any) -> str:
    """The adapter's kind, as people say it."""
    kind = str(config.peft_type.value)
    if kind != "LORA":
        return f"an adapter of the kind {kind}"
    if config.use_dora:
        return "an adapter of the kind DoRA"
    if rewrites(config):
        return f"a LoRA adapter that began as {config.init_lora_weights!r}"
    return "a LoRA adapter"


def rewrites(config: Any) -> bool:
    """Whether the base was changed when the adapter was made."""
    started = getattr(config, "init_lora_weights", True)
    return isinstance(started, str) and started.lower().startswith(REWRITE)


def changes_biases(config: Any) -> bool:
    return getattr(config, "bias", "none") != "none"


def saved_parts(wrapped: Any) -> list[tuple[str, Any]]:
    """The parts that are saved whole beside the adapter, by their names in the base."""
    kind = require("peft.utils", extra="peft").ModulesToSaveWrapper
    return [(name, part) for name, part in wrapped.get_base_model().named_modules() if isinstance(part, kind)]


def tensors_of(wrapped: Any, name: str) -> Weights:
    peft = require("peft", extra="peft")
    with quiet():  # embeddings of the base are its own, and to ask whether they changed means asking a hub
        state = peft.get_peft_model_state_dict(wrapped, adapter_name=name, save_embedding_layers=False)
    return {key: tensor.detach().clone() for key, tensor in state.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Without peft's warnings about networks that are no transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
