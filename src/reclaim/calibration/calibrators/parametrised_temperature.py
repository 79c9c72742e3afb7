"""A temperature for every row."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import nll_loss, one_hot, softplus

from reclaim.calibration.checks import check_net, check_number
from reclaim.calibration.fitting.nets import Net, by_blocks, learn, sampled, settled
from reclaim.calibration.fitting.temperature import best_beta
from reclaim.calibration.protocol import Fitted
from reclaim.calibration.rows import Also, Given, calibration_rows, check_columns
from reclaim.core.arrays import A, as_tensor
from reclaim.core.errors import BadInput
from reclaim.core.numbers import Few, Seed, in_range

__all__ = ["ParametrisedTemperature"]

_LEAST = 1e-2  # share of the best temperature that a row's temperature keeps
_ONE = math.log(math.expm1(1 - _LEAST))  # at which the temperature is the best one


@dataclass(frozen=True)
class ParametrisedTemperature:
    """Divide each row by its own temperature, which a small net reads from the row's largest logits.

    Attributes:
        inputs: [2, k], centre and spread of the k largest logarithmic probabilities.
        first, second: weights and biases of the net's two layers, [H, k + 1] and [1, H + 1].
        temperature: the best single one, which the net bends.
        fitted: its details are `nll_before`, `nll_temperature` (of the best single one), `nll`, `iterations`, `note`.

    Source: Tomani et al., "Parameterized Temperature Scaling for Boosting the Expressive Power in Post-Hoc Uncertainty
        Calibration", ECCV 2022.
    Differs: softplus + 0.01 in place of an absolute value, so that no temperature is near 0; the net reads logarithmic
        probabilities, so that a constant added to a row changes nothing, and has one hidden layer of tanh; it starts at
        the best temperature and is fitted by L-BFGS with as many steps as suited held-out rows. The paper's loss is the
        Brier score; the default here is the likelihood. Seen classes set the temperature and absent ones are divided by
        it too: order and decisions do not change, of any class.
    """

    inputs: Tensor = field(compare=False)
    first: Tensor = field(compare=False)
    second: Tensor = field(compare=False)
    temperature: float
    fitted: Fitted
    keeps_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_net(self.inputs, self.first, self.second, outputs=1)
        if self.inputs.shape[1] > sum(self.fitted.seen):
            raise BadInput(
                f"inputs are for {self.inputs.shape[1]} logits of each row; there are {sum(self.fitted.seen)}."
            )
        check_number("temperature", self.temperature, above=0)

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        seen = check_columns(as_tensor(logits), self.fitted.seen, "parametrised temperature")
        return by_blocks(lambda z: z / self.temperatures(z[:, seen]), logits)

    def temperatures(self, inside: Tensor) -> Tensor:
        """[N, 1], of logits [N, K] of the seen classes."""
        x = _largest(inside.double() / self.temperature, self.inputs.shape[1])
        return self.temperature * _bend(Net(self.inputs, self.first, self.second)(x))

    @classmethod
    @in_range
    def fit(
        cls,
        logits: Given,
        labels: Also = None,
        seen: Also = None,
        *,
        loss: Literal["nll", "brier"] = "nll",
        top: Few = 10,
        hidden: Few = 10,
        seed: Seed = 0,
    ) -> ParametrisedTemperature:
        """The net under which [N, C] logits suit [N] labels best.

        Args:
            seen: [C] bool; all rows must be of these classes. None: every class was seen.
            loss: what the net minimises. A net that makes the labels less likely than the best temperature is refused.
            top: how many of a row's largest logits the net reads.
            hidden: width of the net.
            seed: of the net's start and of the held-out rows.

        Raises: BadInput if the rows cannot be used.
        """
        rows = calibration_rows(logits, labels, seen)
        found = best_beta(rows)
        learnt = sampled(rows, seed)
        z, y = learnt.inside()
        z = z * found.beta
        x = _largest(z, min(top, rows.num_classes))

        def mean_loss(net: Net, which: Tensor) -> Tensor:
            log_p = (z[which] / _bend(net(x[which]))).log_softmax(dim=1)
            if loss == "nll":
                return nll_loss(log_p, y[which], reduction="none").double().mean()
            return (log_p.exp() - one_hot(y[which], rows.num_classes)).square().sum(dim=1).double().mean()

        start = Net.start(x, hidden, 1, seed)
        net, steps = (start, 0) if found.note else learn(mean_loss, learnt, start, seed)
        parts = net.single()
        made = cls(parts.inputs, parts.first, parts.second, 1 / found.beta, rows.fitted({}))
        plain = replace(made, second=torch.zeros_like(made.second))
        return settled(made, plain, rows, found, iterations=steps)


def _largest(z: Tensor, count: int) -> Tensor:
    """The `count` largest logarithmic probabilities of each row, in descending order."""
    return z.log_softmax(dim=1).topk(count).values


def _bend(out: Tensor) -> Tensor:
    """The row's temperature as a multiple of the best one; 1 where the net says 0."""
    return softplus(out + _ONE) + _LEAST
