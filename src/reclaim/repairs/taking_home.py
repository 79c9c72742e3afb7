"""In which form a repaired model is taken home: as merged weights, or as an adapter beside its base."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from reclaim.core.errors import Argument, BadInput
from reclaim.data.inputs.protocol import Inputs
from reclaim.models.adapter_pairs import CLOSE, differ
from reclaim.models.adapters import Form, as_peft, unscalable
from reclaim.models.classifier import Classifier

__all__ = ["check_form", "taken_home"]

log = logging.getLogger(__name__)


def check_form(before: Classifier, after: Classifier, result: Form | None) -> None:
    """Raise if the repaired model is to be an adapter, and cannot be one, before anything is computed."""
    if result == "adapter":
        why = _no_adapter(before, after)
        if why:
            raise _refused(why)


def taken_home(
    model: Classifier, before: Classifier, after: Classifier, alpha: float, result: Form | None, x: Inputs
) -> Classifier:
    """The classifier with the adapter that it is to be written as, if it came as one; else with its weights alone.

    An adapter part of the way is the same adapter, scaled, with the whole head beside it. Where nobody says the form
    and the adapter cannot be scaled so, the weights are merged, which is said.

    Args:
        x: inputs [B, …] on which both forms must answer the same.

    Raises: BadInput if it is to be an adapter, and cannot be one.
    """
    merged = replace(model, adapter=None)
    if result == "merged" or (result is None and after.adapter is None):
        return merged
    why = _no_adapter(before, after)
    if not why and after.adapter is not None:
        scaled = replace(model, adapter=replace(after.adapter, alpha=alpha))
        why = _other_answers(scaled, x)
        if not why:
            return scaled
    if result == "adapter":
        raise _refused(why)
    log.warning("the repaired model has merged weights and is no adapter again: %s.", why)
    return merged


def _no_adapter(before: Classifier, after: Classifier) -> str:
    if after.adapter is None:
        return "the fine-tuned model did not come as one"
    if before.num_outputs != after.num_outputs:
        return "its head answers other classes than that of the base"
    return unscalable(after.adapter, after.head, biased=before.last_layer.bias is not None)


def _other_answers(model: Classifier, x: Inputs) -> str:
    """Why the adapter is not the classifier; empty if it is."""
    assert model.adapter is not None
    try:
        wrapped: Any = as_peft(model.adapter, model.head, model.weights)
    except (RuntimeError, ValueError) as error:
        return f"peft cannot put it together: {str(error).splitlines()[0]}"
    apart = differ(wrapped, model.module, x)
    return "" if apart <= CLOSE else f"as one it answers other logits, by {100 * apart:.2g} % of the largest"


def _refused(why: str) -> BadInput:
    return BadInput(
        f"the repaired model cannot be an adapter: {why}.", Argument("result", "take merged weights", "merged")
    )
