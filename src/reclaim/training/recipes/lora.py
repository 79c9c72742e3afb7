"""Train low-rank changes of the weights, and the head."""

from __future__ import annotations

from typing import Literal

from reclaim.core.errors import BadInput
from reclaim.core.numbers import Few, NotNegative, Share, in_range
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.head import first_row, settled
from reclaim.training.adapters import adaptable_layers, adapted, adapter_parameters, merged, without_fast_path
from reclaim.training.budget import Budget
from reclaim.training.fit import fit

__all__ = ["lora"]


@in_range
def lora(
    model: Classifier,
    data: Data,
    budget: Budget = Budget(),
    *,
    rank: Few = 8,
    scale: NotNegative = 1.0,
    dropout: Share = 0.0,
    mode: Literal["train", "eval"] = "train",
) -> Classifier:
    """Train W + scale B A on every linear layer and convolution, where B A is of low rank, and the head as it is.

    B starts at zero, so training begins at exactly the given model. In the end the products are added to the weights.
    Everything else stays: biases, normalisation, embeddings.

    Args:
        rank: of the changes.
        scale: what they are multiplied by, which peft calls lora_alpha / rank; 0 trains the head alone.
        dropout: the share of a layer's inputs that its adapter does not get, while training.
        mode: "eval" keeps batch norm's running statistics and switches dropout off while training.

    Raises: BadInput if peft is not installed, or no layer but the head can have an adapter.
    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022; adapters are peft's.
    Differs: on all layers, found by running the network, and not on queries and values alone; the head is trained, but
        for its rows of absent classes, which keep their pretrained weights unless the budget trains them too.
    """
    start = settled(model, data)
    if budget.spends_nothing:
        return start.copy()
    rows = data.seen_only("train")
    if not len(rows):
        raise BadInput(f"the training split of {data.source} has no row of a seen class.")
    layers = adaptable_layers(start, first_row(start, rows))
    tuned, wrapped = adapted(start, layers, rank=rank, scale=scale, dropout=dropout, seed=budget.seed)
    with without_fast_path():
        trained = [*adapter_parameters(tuned), *tuned.last_layer.parameters()]
        fit(tuned, data, budget, params=trained, mode=mode)
    return merged(start, wrapped)
