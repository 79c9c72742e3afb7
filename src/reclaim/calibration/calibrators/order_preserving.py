"""A small net that keeps the order of every row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from reclaim.calibration.checks import check_net, check_number, check_tensor
from reclaim.calibration.fitting.nets import Net, by_blocks, learn, sampled, settled
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, Rows, calibration_rows, check_columns, rejoin
from reclaim.core.arrays import A, as_tensor, sorted_values
from reclaim.core.errors import unknown
from reclaim.core.numbers import Few, Seed, in_range

__all__ = ["OrderPreserving"]

_ONE = math.log(math.expm1(1.0))  # softplus makes it 1
_CELLS = 64  # of the integral
_FLAT = 1e-3  # the least slope


@dataclass(frozen=True)
class OrderPreserving:
    """Stretch the gaps between a row's sorted logits by positive factors from a small net.

    Attributes:
        inputs: [2, D], centre and spread of the net's inputs.
        first, second: weights and biases of the net's two layers, [H, D + 1] and [O, H + 1].
        variant: "invariant", D = K sorted logarithmic probabilities make O = K - 1 factors, one for each gap; or
            "diagonal", one strictly increasing function for all logarithmic probabilities, D = O = 1 for its slope.
        scale: of absent logits and of the margin between the groups, the inverse of the best temperature.
        fitted: its details are `nll_before`, `nll_temperature` (of the best single one), `nll`, `iterations`, `note`.

    Source: Rahimi et al., "Intra Order-preserving Functions for Calibration of Multi-Class Neural Networks", NeurIPS
        2020 (order-invariant and diagonal).
    Differs: starts at the best temperature, which is the net that says 0; reads logarithmic probabilities, so that a
        constant added to a row changes nothing; has one hidden layer of tanh; is fitted by L-BFGS with as many steps as
        suited held-out rows, in place of weight decay and an ensemble of folds. The diagonal integral is by the
        midpoint rule over 64 cells, finer near probability 1. Absent classes take no part: the margin between the
        groups is kept row by row. Logits that the type cannot tell apart any more come out equal, none change places.
    """

    inputs: Tensor = field(compare=False)
    first: Tensor = field(compare=False)
    second: Tensor = field(compare=False)
    variant: Literal["invariant", "diagonal"]
    scale: float
    fitted: Fitted
    keeps_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.variant not in _VARIANTS:
            raise unknown("variant", str(self.variant), list(_VARIANTS))
        size = sum(self.fitted.seen)
        check_net(self.inputs, self.first, self.second, outputs=1 if self.variant == "diagonal" else size - 1)
        check_tensor("inputs", self.inputs, 2, 1 if self.variant == "diagonal" else size)
        check_number("scale", self.scale, above=0)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        seen = check_columns(as_tensor(logits), self.fitted.seen, "order-preserving map")
        net = Net(self.inputs, self.first, self.second)

        def change(z: Tensor) -> Tensor:
            inside = z[:, seen] * self.scale
            order = inside.sort(descending=True)
            levels = _VARIANTS[self.variant](order.values, self.inputs)(net, slice(None))
            levels = levels.cummin(dim=1).values  # no rounding error may turn the order round
            new = torch.empty_like(levels).scatter_(1, order.indices, levels + order.values[:, :1])
            return rejoin(z, seen, new, self.scale)

        return by_blocks(change, logits)

    @classmethod
    @in_range
    def fit(
        cls,
        logits: Given,
        labels: Also = None,
        seen: Also = None,
        *,
        variant: Literal["invariant", "diagonal"] = "invariant",
        hidden: Few = 10,
        seed: Seed = 0,
    ) -> OrderPreserving:
        """The net under which [N, C] logits make [N] labels most likely.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            variant: "invariant", a factor for each gap that depends on the whole row; or "diagonal", one strictly
                increasing function.
            hidden: width of the net.
            seed: of the net's start and of the held-out rows.

        Raises: BadInput if the rows cannot be used.
        """
        rows = calibration_rows(logits, labels, seen)
        found = best_beta(rows)
        learnt = sampled(rows, seed)
        ordered, place = _ordered(learnt, found.beta)
        start = _start(ordered, variant, hidden, seed)
        levels = _VARIANTS[variant](ordered, start.inputs)

        def mean_loss(net: Net, which: Tensor) -> Tensor:
            new = levels(net, which)
            return (new.logsumexp(dim=1, keepdim=True) - new.gather(1, place[which])).double().mean()

        net, steps = (start, 0) if found.note else learn(mean_loss, learnt, start, seed)
        parts = net.single()
        made = cls(parts.inputs, parts.first, parts.second, variant, found.beta, rows.fitted({}))
        plain = replace(made, second=torch.zeros_like(made.second))
        return settled(made, plain, rows, found, iterations=steps)


def _ordered(rows: Rows, beta: float) -> tuple[Tensor, Tensor]:
    """Logits of seen classes times beta in descending order [N, K], and where in it each row's label is [N, 1]."""
    z, y = rows.inside()
    ordered, indices = (z * beta).sort(descending=True)
    return ordered, (indices == y[:, None]).int().argmax(dim=1, keepdim=True)


def _start(ordered: Tensor, variant: str, hidden: int, seed: int) -> Net:
    """The net that says 0 to logarithmic probabilities like these rows'."""
    log_p = ordered.log_softmax(dim=1)
    if variant == "invariant":
        return Net.start(log_p, hidden, log_p.shape[1] - 1, seed)
    reach = sorted_values(-log_p.flatten())[int(0.99 * log_p.numel())].double().clamp_min(1.0)
    start = Net.start(log_p[:, :1], hidden, 1, seed)
    return replace(start, inputs=torch.stack([-reach, reach])[:, None] / 2)  # from certainty to 99 in 100 logits


_Levels = Callable[[Net, Tensor | slice], Tensor]


def _invariant(ordered: Tensor, inputs: Tensor) -> _Levels:
    """From logits [N, K] in descending order to new ones whose largest is 0: each gap times its factor."""
    log_p, gaps = ordered.log_softmax(dim=1), ordered[:, :-1] - ordered[:, 1:]

    def levels(net: Net, which: Tensor | slice) -> Tensor:
        steps = gaps[which] * _factor(net(log_p[which]))
        return -torch.cat([torch.zeros_like(steps[:, :1]), steps], dim=1).cumsum(dim=1)

    return levels


def _diagonal(ordered: Tensor, inputs: Tensor) -> _Levels:
    """The same by one increasing function of the depth below certainty: the integral of a positive net."""
    depth = -ordered.log_softmax(dim=1)
    edges = 2 * inputs[1].to(depth) * torch.linspace(0, 1, _CELLS + 1).to(depth).square()
    cell = torch.bucketize(depth, edges[1:-1], right=True)

    def levels(net: Net, which: Tensor | slice) -> Tensor:
        slopes = _factor(net(-(edges[:-1] + edges[1:])[:, None] / 2)).squeeze(1)
        start = torch.cat([edges[:1], (slopes * edges.diff())[:-1]]).cumsum(dim=0) - slopes * edges[:-1]
        at, flat = depth[which], cell[which].flatten()
        new = start.index_select(0, flat).view_as(at) + slopes.index_select(0, flat).view_as(at) * at
        return new[:, :1] - new

    return levels


def _factor(out: Tensor) -> Tensor:
    """What a gap is stretched by; 1 where the net says 0."""
    return (softplus(out + _ONE) + _FLAT) / (1 + _FLAT)


_VARIANTS: dict[str, Callable[[Tensor, Tensor], _Levels]] = {"invariant": _invariant, "diagonal": _diagonal}
