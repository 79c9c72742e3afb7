"""What a step of training takes: the network on its device, its optimizer, and the precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from reclaim.core.compat import as_unprepared
from reclaim.models.placement import placed_on
from reclaim.training.borrowed import channels_last, forked_random, in_mode, seeding
from reclaim.training.budget import Budget
from reclaim.training.trained import Part, found, only_trained, parameters_of, put_back

__all__ = ["Engine", "engine_of"]


class Engine:
    """A network and its optimizer in one of several processes.

    Attributes:
        net: the network as it is run.
        device: where.
        loss: [] the sum of the losses of an epoch in this process; reading it waits for the device.
        batches: of the epoch, whose losses these are.
    """

    def __init__(self, accelerator: Accelerator, net: nn.Module, params: list[nn.Parameter | Part], budget: Budget):
        self.accelerator, self.device, self.scaler = accelerator, accelerator.device, accelerator.scaler
        fused = self.device.type == "cuda" and self.scaler is None  # a fused one does not say that a step was left out
        self.net, prepared = accelerator.prepare(net, optimizer_of(parameters_of(params), budget, fused=fused))
        # its wrapper asks at every step what is installed, which takes longer than a small step itself
        self.optimizer: torch.optim.Optimizer = prepared.optimizer
        self.hook = self.optimizer.register_step_post_hook(self._moved)
        self.put_back = put_back(params)
        self.named = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
        self.accumulate = budget.accumulate
        self.sum_from(0.0, 0)
        self.moved = self.unscaled = False
        self.set_seed = seeding(self.device)

    def sum_from(self, loss: float, batches: int) -> None:
        """Sum up losses from there."""
        self.loss, self.batches = torch.full((), loss, device=self.device), batches

    def summed_loss(self) -> float:
        """The sum of the losses of an epoch, the mean over processes, all of which must come here."""
        mean: Tensor = self.accelerator.reduce(self.loss, "mean")
        return float(mean)

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def begin(self, seed: int, *, anew: bool) -> None:
        """Begin a batch, whose random numbers the seed decides; `anew` forgets the gradients that were added up."""
        self.set_seed(seed)
        if anew:
            self.optimizer.zero_grad()
            self.unscaled = False
        self.begun = seed, anew, self.loss

    def begin_again(self, *, untouched: bool) -> bool:
        """Begin the batch once more, and say whether that is possible.

        It is not where the batch has left gradients among those of earlier ones, or other processes go on.

        Args:
            untouched: whether the batch has added no gradient yet.
        """
        seed, anew, loss = self.begun
        if self.accelerator.num_processes > 1 or not (anew or untouched):
            return False
        self.loss = loss
        self.begin(seed, anew=anew)
        return True

    def backward(self, loss: Tensor) -> None:
        """Add gradients of the loss.

        Accelerate would divide by what the last Accelerator of this process was told, which may be another run's.
        """
        mean = loss if self.accumulate == 1 else loss / self.accumulate
        (mean if self.scaler is None else self.scaler.scale(mean)).backward()
        self.loss = self.loss + loss.detach()

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by name, unscaled."""
        if self.scaler is not None and not self.unscaled:
            self.scaler.unscale_(self.optimizer)
        self.unscaled = True
        return {name: p.grad for name, p in self.named.items() if p.grad is not None}

    def step(self) -> bool:
        """Move the weights along the gradients, and put back the rows that stay."""
        self.moved = False
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.unscaled = True
        return self.moved

    def _moved(self, *_: object) -> None:
        self.put_back()
        self.moved = True


def optimizer_of(params: Iterable[nn.Parameter], budget: Budget, *, fused: bool = False) -> torch.optim.Optimizer:
    """SGD or AdamW over these parameters; `fused` takes few kernels on a GPU."""
    kernels = True if fused else None
    if budget.optimizer == "adamw":
        return torch.optim.AdamW(params, lr=budget.learning_rate, weight_decay=budget.weight_decay, fused=kernels)
    return torch.optim.SGD(
        params,
        lr=budget.learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=budget.weight_decay,
        fused=kernels,
    )


@contextmanager
def engine_of(
    accelerator: Accelerator, net: nn.Module, params: list[nn.Parameter | Part], budget: Budget, *, train: bool
) -> Iterator[Engine]:
    """An engine for a while; meanwhile the network lies on its device, weights of four dimensions with channels last.

    However it ends, the network is an ordinary one again, where it was and in the memory it had, each part in the mode
    and each parameter with the flag of before, and the caller's random numbers go on as if nothing had been drawn.
    """
    device = accelerator.device
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    with (
        forked_random(device),
        only_trained(net, parameters_of(params)),
        in_mode(net, train),
        placed_on(net, device, returns=True),
        channels_last(net),
        as_unprepared(net),
    ):
        there = dict(net.named_parameters())  # on some kinds of devices they are other objects
        engine = Engine(accelerator, net, [found(one, names, there) for one in params], budget)
        engine.net.train(train)
        try:
            yield engine
        finally:
            engine.hook.remove()  # it holds the optimizer's state in memory
