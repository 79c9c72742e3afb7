"""What happens in the Trainer of Lightning, as `lightning_callback` follows it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback
from torch import Tensor, nn

from reclaim.bridges.own_loop import Measured, OwnLoop
from reclaim.core.errors import Argument, BadInput
from reclaim.data.given import inputs_in, labels_in
from reclaim.data.loader import moved
from reclaim.models.forward import logits_in
from reclaim.models.placement import device_of
from reclaim.repairs.modules import AnyData
from reclaim.repairs.result import Repair

__all__ = ["LightningEvents"]


class LightningEvents(Callback):
    """Follows one training; see `lightning_callback`.

    Attributes:
        loop: what is kept of it.
        history: what each evaluation measured.
        repaired: the `Repair` at the end; None before.
    """

    def __init__(self, loop: OwnLoop, data: AnyData | None, *, replace: bool) -> None:
        self.loop, self.data, self.replace = loop, data, replace
        self.answers: list[Tensor] = []
        self.hook: Any = None

    @property
    def history(self) -> list[Measured]:
        return self.loop.history

    @property
    def repaired(self) -> Repair[Any] | None:
        return self.loop.repaired

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Find the head on the first training row, and keep its rows of absent classes from now on."""
        loader = trainer.train_dataloader
        example = loader.dataset[0]
        x = inputs_in(loader.collate_fn([example, example]))
        self.loop.begin(moved(x, device_of(self.loop.network)), *trainer.optimizers)
        if self.data is None and not trainer.val_dataloaders:
            raise BadInput(
                "the trainer validates nothing, so there are no rows to repair the network by.",
                Argument("data", "give held-out rows, or a validation loader"),
            )

    def on_validation_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Listen to what the network answers."""
        self.hook = self.loop.network.register_forward_hook(self._hear)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: nn.Module, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count the last answer, if it is one to this batch."""
        if self.answers and trainer.world_size == 1:
            self.loop.count(self.answers[-1], labels_in(batch))
        self.answers.clear()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the accuracies, but for those of the few batches that Lightning tries before it trains."""
        self.hook.remove()
        self.answers.clear()
        if trainer.sanity_checking or self.loop.seen is None:
            self.loop.forget()
            return
        found = self.loop.measured(trainer.global_step).record("val_")
        pl_module.log_dict({key: value for key, value in found.items() if not isinstance(value, str)}, prog_bar=True)

    def on_train_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Repair the network."""
        rows = trainer.val_dataloaders if self.data is None else self.data
        if isinstance(rows, list) and self.data is None:
            rows = rows[0]
        self.loop.end(rows, replace=self.replace)

    def _hear(self, network: nn.Module, inputs: Any, answer: Any) -> None:
        self.answers.append(logits_in(answer).detach())
