"""The choice of a repair that may fine-tune again: the offset of pseudo cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.repairs.alpha import Mix, Prefer
from reclaim.repairs.plan import Choice
from reclaim.repairs.pseudo_cross_validation import Retrain, pseudo_cross_validation

__all__ = ["NAME", "choose_by_retraining"]

NAME = "pseudo-cross-validation"


def choose_by_retraining(
    before: Classifier,
    after: Classifier,
    data: Data,
    retrain: Retrain | None,
    *,
    mix: float | Literal["auto"] = "auto",
    prefer: Prefer | None = None,
    numbers: Mapping[str, Any] | None = None,
    seed: int = 0,
    inference: Inference = Inference(),
) -> Choice:
    """The fine-tuned model as it is, with the offset of `pseudo_cross_validation`. Nothing is guaranteed.

    Args:
        data: its splits "train" and, to be cheap, "val" choose.
        retrain: the recipe that made `after`.
        mix, prefer: must leave the weight at the fine-tuned model: a mixture is not what is retrained.
        numbers: keyword arguments of `pseudo_cross_validation`; `cheap` retrains heads only, with `after` for scale.

    Raises: BadInput if something else is asked for, or the data have no training rows of three seen classes.
    """
    if retrain is None:
        raise BadInput(
            "pseudo cross-validation repeats the fine-tuning, and no `retrain` was given.\n"
            "  Give the recipe of the fine-tuned model: retrain=lambda model, data: fine_tune(model, data, budget)"
        )
    if mix not in ("auto", 1):
        raise BadInput(
            f"pseudo cross-validation chooses an offset for the fine-tuned model; given: a mix of {mix}.\n"
            "  Leave out the mix, or choose with another selector."
        )
    if prefer is not None:
        raise BadInput(
            f"a preference ({prefer!r}) chooses among mixtures, and pseudo cross-validation chooses an offset for the "
            "fine-tuned model.\n  Leave out the preference, or give a `criterion` instead."
        )
    own = dict(numbers or {})
    compared = after if own.pop("cheap", False) else None
    chosen = pseudo_cross_validation(before, data, retrain, after=compared, seed=seed, inference=inference, **own)
    reason = "as given" if mix == 1 else "pseudo cross-validation chooses an offset for the fine-tuned model"
    offset = LogitOffset(
        offset=chosen.offset,
        seen=tuple(data.seen.tolist()),
        classes=data.classes,
        selector=NAME,
        reason=chosen.reason,
        evidence=chosen.evidence,
        details=chosen.details,
        fitted_on=f"{data.source}:train" if data.source else "",
    )
    return Choice(Mix(1.0, reason), offset)
