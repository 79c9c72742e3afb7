"""What a step of training takes: the network on its device, its optimizer, and the precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from reclaim.core.compat import as_unprepared
from reclaim.models.placement import device_of
from reclaim.training.budget import Budget
from reclaim.training.trained import Part, only_trained, parameters_of, put_back

__all__ = ["Engine", "engine_of"]


class Engine:
    """A network and its optimizer in one of several processes.

    Attributes:
        net: the network as it is run.
        device: where.
        loss: [] the sum of the losses since it was last set to zero; reading it waits for the device.
    """

    def __init__(self, accelerator: Accelerator, net: nn.Module, params: list[nn.Parameter | Part], budget: Budget):
        self.accelerator, self.device, self.scaler = accelerator, accelerator.device, accelerator.scaler
        self.net, prepared = accelerator.prepare(net, optimizer_of(parameters_of(params), budget))
        # its wrapper asks at every step what is installed, which takes longer than a small step itself
        self.optimizer: torch.optim.Optimizer = prepared.optimizer
        self.hook = self.optimizer.register_step_post_hook(self._moved)
        self.put_back = put_back(params)
        self.named = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
        self.accumulate = budget.accumulate
        self.loss = torch.zeros((), device=self.device)
        self.moved = self.unscaled = False

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def begin(self) -> None:
        """Forget the gradients of the last step."""
        self.optimizer.zero_grad()
        self.unscaled = False

    def backward(self, loss: Tensor) -> None:
        """Add gradients of the loss.

        Accelerate would divide by what the last Accelerator of this process was told, which may be another run's.
        """
        self.loss.add_(loss.detach())
        loss = loss if self.accumulate == 1 else loss / self.accumulate
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by name, unscaled."""
        if not self.unscaled:
            self.accelerator.unscale_gradients(self.optimizer)
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


def optimizer_of(params: Iterable[nn.Parameter], budget: Budget) -> torch.optim.Optimizer:
    """SGD or AdamW over these parameters."""
    if budget.optimizer == "adamw":
        return torch.optim.AdamW(params, lr=budget.learning_rate, weight_decay=budget.weight_decay)
    return torch.optim.SGD(
        params, lr=budget.learning_rate, momentum=0.9, nesterov=True, weight_decay=budget.weight_decay
    )


@contextmanager
def engine_of(
    accelerator: Accelerator, net: nn.Module, params: list[nn.Parameter | Part], budget: Budget, *, train: bool
) -> Iterator[Engine]:
    """An engine for a while.

    However it ends, the network is an ordinary one again, where it was, in evaluation mode, with its parameters' flags
    of before, and the caller's random numbers go on as if nothing had been drawn.
    """
    where = device_of(net)
    with torch.random.fork_rng(), only_trained(net, parameters_of(params)), as_unprepared(net):
        try:
            engine = Engine(accelerator, net, params, budget)
            engine.net.train(train)
            try:
                yield engine
            finally:
                engine.hook.remove()  # it holds the optimizer's state in memory
        finally:
            net.eval().to(where)


def seeding(device: torch.device) -> Callable[[int], object]:
    """Sets the seed of every generator that a network on the device draws from.

    On a CPU `torch.manual_seed` also notes it, with a trace of the calls, for a GPU that may come later: a third of a
    small step.
    """
    return torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
