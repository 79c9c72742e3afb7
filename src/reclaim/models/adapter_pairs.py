"""A network that peft has wrapped, as a pair: with its adapter off the pretrained one, with it on the fine-tuned."""

from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.errors import Argument, BadInput, few
from reclaim.core.extras import require
from reclaim.data.inputs.protocol import Inputs
from reclaim.data.loader import moved
from reclaim.models.adapters import Adapter, called, changes_biases, quiet, rewrites, saved_parts, tensors_of
from reclaim.models.forward import evaluating, logits_of
from reclaim.models.placement import device_of

__all__ = ["CLOSE", "check_start", "differ", "taken_apart"]

CLOSE = 1e-3  # of the largest logit; adapters in half precision round by less
INITIAL = "initial"


def taken_apart(
    wrapped: Any, x: Inputs, *, initial: Path | None = None, base: nn.Module | None = None
) -> tuple[nn.Module, nn.Module, Adapter]:
    """The network without its adapter, the network with the adapter merged, and the adapter; the given one stays.

    What comes out is compared with what the wrapped network answers, with the adapter off and on.

    Args:
        wrapped: a `PeftModel`.
        x: inputs [B, …] that it takes.
        initial: the folder of the adapter as it was before training, where its initialisation changed the base.
        base: the pretrained network, where it is given apart.

    Raises: BadInput if the adapter cannot be merged, or the network with the adapter off is not the pretrained one.
    """
    name = _active(wrapped)
    config = wrapped.peft_config[name]
    what = called(config)
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise BadInput(f"{what} changes no weights: there is nothing to mix, and nothing to merge.")
    if base is None and rewrites(config):
        wrapped, name = _converted(wrapped, name, initial, x), "default"
    elif base is None and changes_biases(config):
        raise BadInput(
            f"{what} trained biases of the base too, so that with it off the network is not the pretrained one.\n"
            "  Give the pretrained network as well: repair(before, adapted, data)."
        )
    on = _merged(wrapped, what)
    _check(on, x, _answers(wrapped, x), f"{what}, merged,")
    if base is None:
        base = _without(wrapped, what)
        _check(base, x, _off(wrapped, x), f"{what}, switched off,")
    return base, on, Adapter(base, copy.deepcopy(wrapped.peft_config[name]), tensors_of(wrapped, name), name)


def differ(first: nn.Module, second: nn.Module, x: Inputs) -> float:
    """The largest difference of two networks' logits, as a share of the largest logit."""
    return _difference(_answers(first, x), _answers(second, x))


def check_start(config: Any, initial: Path | None) -> str:
    """Raise if an adapter changed its base, and what it began with is not given; returns what it is called."""
    what = called(config)
    if rewrites(config) and initial is None:
        raise BadInput(
            f"{what} changed the weights of the base, so that with it off the network is not the pretrained one.",
            Argument("initial", "give the folder of the adapter as it was saved before training"),
        )
    return what


def _active(wrapped: Any) -> str:
    """The one adapter that is switched on."""
    names = wrapped.active_adapters
    if len(names) != 1:
        raise BadInput(
            f"the network has {len(names)} adapters switched on at once ({few(names)}), and a repair takes one.\n"
            "  Say which: model.set_adapter(name)."
        )
    status = wrapped.get_model_status()
    if status.merged_adapters or status.enabled is not True:
        state = "merged into the weights" if status.merged_adapters else "switched off"
        raise BadInput(f"the adapter {names[0]!r} is {state}.\n  Undo it: unmerge_adapter(), enable_adapter_layers().")
    name: str = names[0]
    return name


def _converted(wrapped: Any, name: str, initial: Path | None, x: Inputs) -> Any:
    """The adapter as a plain one of twice the rank on the pretrained base, by peft's own conversion."""
    what = check_start(wrapped.peft_config[name], initial)
    assert initial is not None
    peft = require("peft", extra="peft")
    before = _answers(wrapped, x)
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            start, made = Path(folder) / INITIAL, Path(folder) / "made"
            shutil.copytree(initial, start)  # peft writes into it
            again = copy.deepcopy(wrapped)
            again.set_adapter(name)
            again.save_pretrained(
                str(made), selected_adapters=[name], path_initial_model_for_weight_conversion=str(start)
            )
            found = made if name == "default" else made / name
            base = _with_initial(wrapped, name, start)
            # the conversion leaves out what is saved whole
            whole = {key: tensor for key, tensor in tensors_of(wrapped, name).items() if "lora_" not in key}
            plain = peft.get_peft_model(base, peft.PeftConfig.from_pretrained(str(found)))
            peft.set_peft_model_state_dict(plain, whole | peft.load_peft_weights(str(found), device="cpu"))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join((str(error) or type(error).__name__).splitlines()[:2])
        raise BadInput(f"{what} cannot be converted with the adapter in {initial}: {reason:.300}") from error
    _check(plain.eval(), x, before, f"{what}, converted with the adapter in {initial},")
    return plain


def _with_initial(wrapped: Any, name: str, start: Path) -> nn.Module:
    """The pretrained base: what is left of it, and the initial adapter merged."""
    plain = copy.deepcopy(wrapped)
    plain.load_adapter(str(start), INITIAL)
    plain.set_adapter(INITIAL)
    _original(plain)
    module: nn.Module = plain.merge_and_unload(adapter_names=[INITIAL])
    return module


def _merged(wrapped: Any, what: str) -> nn.Module:
    with quiet():
        try:
            on: nn.Module = copy.deepcopy(wrapped).merge_and_unload()
        except (NotImplementedError, AttributeError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise BadInput(f"{what} cannot be merged into the weights: {reason}") from error
    return on


def _without(wrapped: Any, what: str) -> nn.Module:
    with quiet():
        try:
            plain = copy.deepcopy(wrapped)
            _original(plain)
            off: nn.Module = plain.unload()
        except (NotImplementedError, AttributeError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise BadInput(f"{what} cannot be taken off: {reason}") from error
    return off


def _original(wrapped: Any) -> None:
    """Put the parts that were trained whole back as they were; peft's own unloading leaves the trained ones."""
    module = wrapped.get_base_model()
    for name, part in saved_parts(wrapped):
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, part.original_module)


@torch.no_grad()
def _answers(module: nn.Module, x: Inputs) -> Tensor:
    with evaluating(module):
        return logits_of(module, moved(x, device_of(module)))


def _off(wrapped: Any, x: Inputs) -> Tensor:
    with quiet(), wrapped.disable_adapter():
        return _answers(wrapped, x)


def _difference(z: Tensor, expected: Tensor) -> float:
    return float((z - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def _check(module: nn.Module, x: Inputs, expected: Tensor, what: str) -> None:
    """Raise unless the network answers what the wrapped one does: of some layers peft merges something else."""
    if (apart := _difference(_answers(module, x), expected)) > CLOSE:
        raise BadInput(
            f"{what} answers other logits than the network that peft wrapped, by {100 * apart:.2g} % of the largest: "
            "it cannot be mixed by weights.\n  Repair the two networks' answers instead: repair_answers."
        )
