"""What happens in the Trainer of transformers, as `trainer_callback` follows it."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn
from transformers import TrainerCallback

from reclaim.bridges.own_loop import Measured, OwnLoop
from reclaim.core.errors import Argument, BadInput
from reclaim.data.given import inputs_in, labels_in
from reclaim.data.loader import moved
from reclaim.models.forward import logits_in
from reclaim.repairs.modules import AnyData
from reclaim.repairs.result import Repair

__all__ = ["TrainerEvents"]

log = logging.getLogger(__name__)


class TrainerEvents(TrainerCallback):
    """Follows one training; see `trainer_callback`.

    Attributes:
        loop: what is kept of it.
        history: what each evaluation measured.
        repaired: the `Repair` at the end; None before.
    """

    def __init__(self, loop: OwnLoop, data: AnyData | None, *, replace: bool) -> None:
        self.loop, self.data, self.replace = loop, data, replace
        self.apart = False  # whether rows are divided over several processes
        self.last: dict[str, float | str] = {}

    @property
    def history(self) -> list[Measured]:
        return self.loop.history

    @property
    def repaired(self) -> Repair[Any] | None:
        return self.loop.repaired

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Find the head on the first training row, and keep its rows of absent classes from now on."""
        if given["model"] is not self.loop.network:
            raise BadInput("the trainer trains another model than the callback was made with.")
        if self.data is None and str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no":
            raise BadInput(
                "the trainer evaluates nothing, so there are no rows to repair the model by.",
                Argument("data", "give held-out rows, or evaluate"),
            )
        self.apart = args.world_size > 1
        loader = given["train_dataloader"]
        try:
            example = loader.dataset[0]
        except (TypeError, NotImplementedError, KeyError):
            example = next(iter(loader.dataset))
        x = inputs_in(loader.collate_fn([example, example]))
        self.loop.begin(moved(x, args.device), given["optimizer"])
        self.loop.network.register_forward_hook(_Counts(self.loop), with_kwargs=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Add the accuracies to what an evaluation logs."""
        ends = [key for key in logs or {} if key.endswith("_runtime") and not key.startswith("train")]
        if logs is None or not ends or self.loop.seen is None:
            return
        if self.apart:
            self.loop.forget()
            log.warning("accuracies by group are not measured where several processes divide the rows")
        self.last = self.loop.measured(state.global_step).record(ends[0].removesuffix("runtime"))
        logs.update(self.last)
        state.log_history[-1].update(self.last)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **_: Any) -> None:
        """Add what was measured to the metrics, by which the best epoch may be chosen."""
        metrics.update({key: value for key, value in self.last.items() if not isinstance(value, str)})

    def on_predict(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A prediction is no evaluation."""
        self.loop.forget()

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Repair the model."""
        rows = given["eval_dataloader"] if self.data is None else self.data
        if rows is None:
            raise BadInput("nothing was evaluated, so there are no rows.", Argument("data", "give held-out rows"))
        self.loop.end(rows, replace=self.replace)
        self.loop.forget()


class _Counts:
    """Counts the answers of a network in evaluation mode by group, where labels come with its inputs."""

    def __init__(self, loop: OwnLoop) -> None:
        self.loop = loop

    def __call__(self, network: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
        if not network.training and "labels" in named:
            self.loop.count(logits_in(answer).detach(), labels_in(named))

    def __deepcopy__(self, _: dict[int, Any]) -> _Counts:
        """A copy of the network shares what is counted, and not a copy of all that is kept."""
        return self
