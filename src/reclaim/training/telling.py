"""What the epochs of a run came to, for whoever listens: a line each on the terminal, and a list for the record."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Epoch", "best_of", "say_epoch", "telling", "told"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        epoch: its number, from 1.
        step: the batches of the run by its end.
        loss: the mean over its batches.
        seconds: it took, measuring included.
        seen_accuracy: of held-out rows of seen classes after it, all classes competing; None where it is not measured.
    """

    epoch: int
    step: int
    loss: float
    seconds: float
    seen_accuracy: float | None = None


_told: ContextVar[list[Epoch] | None] = ContextVar("told", default=None)


@contextmanager
def telling() -> Iterator[list[Epoch]]:
    """Within it runs measure the seen accuracy on held-out rows after each epoch, say a line about it, and add it here.

    A run that is resumed adds the epochs from before it was stopped too. What training ends with is the same.
    """
    epochs: list[Epoch] = []
    token = _told.set(epochs)
    try:
        yield epochs
    finally:
        _told.reset(token)


def told() -> list[Epoch] | None:
    """The list that epochs are added to; None where nobody listens."""
    return _told.get()


def say_epoch(one: Epoch, epochs: int, rows: int) -> None:
    """Say what an epoch came to, of so many, with so many held-out rows."""
    measured = "" if one.seen_accuracy is None else f", seen accuracy {one.seen_accuracy:.3f} on {rows} held-out rows"
    log.info("epoch %d of %d: loss %.4g%s, %.1f s", one.epoch, epochs, one.loss, measured, one.seconds)


def best_of(epochs: Sequence[Epoch]) -> Epoch | None:
    """The epoch with the highest seen accuracy, the earliest of equals; None where none was measured."""
    measured = [one for one in epochs if one.seen_accuracy is not None]
    return max(measured, key=lambda one: one.seen_accuracy or 0.0, default=None)  # the first of equals
