"""The head as a classifier of its own, on features drawn once: whatever trains only the head then takes seconds."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.inputs.arrays import AsTensors
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.head import ends_with_head, first_row, settled
from reclaim.models.predict import predict

__all__ = ["head_alone"]


def head_alone(model: Classifier, data: Data, inference: Inference = Inference()) -> tuple[Classifier, Data]:
    """A copy of the head, and the features of rows of seen classes in the splits "train" and "val" as its data.

    Features are drawn in evaluation mode and without augmentation. Recipes run on the two as on any others.

    Raises: BadInput if the network goes on after its last layer.
    """
    model = settled(model, data)
    if not ends_with_head(model, first_row(model, data.seen_only("train"))):
        raise BadInput(
            f"the network {model.name!r} goes on after its last layer {model.head!r}, so that layer is no classifier "
            "of features.\n  Retrain the whole network instead."
        )
    splits: dict[str, Split] = {}
    for name in ("train", "val"):
        if name in data.splits and len(rows := data.seen_only(name)):
            f = predict(model, replace(data, splits={name: rows}), name, inference=inference).features
            assert f is not None
            splits[name] = replace(rows, read=f.numpy().__getitem__)
    head = nn.Sequential(model.copy().last_layer).eval()
    return replace(model, module=head, head="0", preprocess=AsTensors()), replace(data, splits=splits)
