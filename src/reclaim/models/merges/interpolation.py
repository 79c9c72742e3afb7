"""WiSE-FT: part of the way from the fine-tuned weights back to the pretrained ones."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from reclaim.core.errors import BadInput
from reclaim.core.numbers import Share, in_range
from reclaim.models.weights import Weights, mix

__all__ = ["interpolation"]

FORMERLY = {"alpha": "weight"}


@in_range
def interpolation(theta_0: Mapping[str, Tensor], theta_1: Mapping[str, Tensor], *, alpha: Share = 0.5) -> Weights:
    """Interpolate linearly between the pretrained and the fine-tuned weights.

    θ = (1 - α) θ₀ + α θ₁ for every floating-point entry, the head included. Integer buffers are copied from
    θ₁. Running statistics of batch norms are interpolated too; where the two models' differ they are wrong for the
    mixture and should be measured again (`reclaim.models.batch_norm`, which ``reclaim merge`` and ``repair`` do).

    Args:
        alpha: 0 is the pretrained model, 1 the fine-tuned one, both bit for bit; between 0 and 1.

    Returns: new weights, in θ₀'s order and types.
    Raises: BadInput if the two are not the same architecture.
    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022 (WiSE-FT).
    """
    if not 0 <= alpha <= 1:
        raise BadInput(f"alpha is the share of the fine-tuned model, between 0 and 1; given: {alpha}.")
    return mix(theta_0, theta_1, alpha)
