"""Maps of logits and the logits they are for: joined by the names of the columns, never by their positions alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from reclaim.core.affine import Affine
from reclaim.core.arrays import A, as_kind, as_tensor
from reclaim.core.errors import BadInput, alike, few, meant

__all__ = [
    "HasAffine",
    "HasNames",
    "Names",
    "by_name",
    "names_for",
    "say_if_of_another",
    "say_if_seen_differ",
    "unnamed",
]

log = logging.getLogger(__name__)


class Names(Protocol):
    """What a map of logits knows of its columns."""

    @property
    def classes(self) -> tuple[str, ...]:
        """One name per column; empty if unknown."""

    @property
    def seen(self) -> tuple[bool, ...]:
        """One bool per column, True where the fine-tuning data had the class."""

    @property
    def model_identity(self) -> str:
        """That of the model whose logits it was fitted to; empty if unknown."""


@runtime_checkable
class HasNames(Protocol):
    """A map of logits that was fitted to columns with names."""

    @property
    def fitted(self) -> Names: ...


@runtime_checkable
class HasAffine(Protocol):
    """A map of logits that may be affine."""

    def affine(self, classes: Sequence[str] = ()) -> Affine | None: ...


def by_name(change: Callable[[A], A], classes: Sequence[str]) -> Callable[[A], A]:
    """A map of logits as one of logits whose columns are `classes`, in their order.

    The columns are brought into the map's order, mapped, and brought back. Where the classes are others, a map that is
    affine treats those it does not know as absent ones; any other is refused. Where there are no names on one side,
    columns go by their position if they are equally many, which is said.

    Args:
        change: a calibrator; any other function has no names, and stays as it is.

    Raises: BadInput if the classes do not fit.
    """
    if not isinstance(change, HasNames):
        return change
    own, theirs = change.fitted.classes, names_for(change.fitted, classes)
    if not theirs or theirs == own:
        return change
    if set(theirs) == set(own):
        return _Permuted(change, own, theirs)
    affine = change.affine(theirs) if isinstance(change, HasAffine) else None
    lost, new = sorted(set(own) - set(theirs)), sorted(set(theirs) - set(own))
    if affine is None:
        raise BadInput(
            f"this calibrator is for {len(own)} classes and not affine; the model's {len(theirs)} are others.\n"
            f"  only the calibrator has: {few(lost) or 'none'}\n  it does not know: {few(new) or 'none'}"
            f"{meant(lost, new)}\n"
            "  Fit it to all outputs of the model: let `reclaim predict` answer the model's columns."
        )
    if lost and new:
        log.warning(
            "the calibrator knows %s, which are not here; what it does not know is taken for absent classes: %s.%s",
            few(lost),
            few(new),
            meant(lost, new),
        )
    return affine


def names_for(fitted: Names, classes: Sequence[str]) -> tuple[str, ...]:
    """The names by which columns find those of a map; empty where they go by their position.

    Raises: BadInput if they go by their position, and are not equally many, or if two names only look alike.
    """
    own, theirs, size = fitted.classes, tuple(classes), len(fitted.seen)
    if both := alike(set(own) - set(theirs), set(theirs) - set(own)):
        raise BadInput(f"the calibrator's classes and those that it is applied to are not the same.{both}")
    if theirs == own or set(own) & set(theirs) or not (unnamed(own) or unnamed(theirs)):
        return theirs
    if not theirs:
        return ()
    if len(theirs) != size:
        raise BadInput(
            f"this calibrator is for {size} classes, and here are {len(theirs)}; "
            f"{'its classes' if unnamed(own) else 'these'} have no names to find each other by."
        )
    if not (unnamed(own) and unnamed(theirs)):
        log.warning(
            "%s no names, so that columns are taken in their order: %s.",
            "the calibrator's classes have" if unnamed(own) else "the columns that the calibrator is applied to have",
            few(theirs if unnamed(own) else own),
        )
    return ()


def unnamed(classes: Sequence[str]) -> bool:
    """Whether these are no names, but numbers in their stead: none at all, or 0, 1, … in order."""
    return all(name == str(column) for column, name in enumerate(classes))


def say_if_of_another(fitted: Names, model_identity: str) -> None:
    """Say in one line where a calibrator was fitted to the answers of another model, as far as both are known."""
    if fitted.model_identity and model_identity and fitted.model_identity != model_identity:
        log.warning(
            "the calibrator was fitted to the answers of another model (weights %s) than this one (%s).",
            fitted.model_identity,
            model_identity,
        )


def say_if_seen_differ(fitted: Names, classes: Sequence[str], seen: Sequence[bool]) -> None:
    """Say in one line where a calibrator takes classes for absent that are seen, or the other way round.

    Nothing is said where either side takes every class for seen, which may stand for not knowing it.
    """
    if all(fitted.seen) or all(seen) or not set(fitted.classes) & set(classes):
        return
    own = {name for name, known in zip(fitted.classes, fitted.seen, strict=True) if known}
    theirs = {name for name, known in zip(classes, seen, strict=True) if known}
    if own != theirs:
        log.warning("the calibrator knows other classes as seen than these rows do: %s.", few(sorted(own ^ theirs)))


class _Permuted:
    """A map of logits in the order of `own`, as one in the order of `theirs`."""

    def __init__(self, change: Callable[[Any], Any], own: Sequence[str], theirs: Sequence[str]) -> None:
        place = {name: column for column, name in enumerate(theirs)}
        self.change, self.there = change, torch.tensor([place[name] for name in own])
        self.back = self.there.argsort()

    def __call__(self, logits: A) -> A:
        """[N, C] -> [N, C]."""
        z = as_tensor(logits)
        changed: Tensor = self.change(z.index_select(1, self.there.to(z.device)))
        return as_kind(changed.index_select(1, self.back.to(z.device)), logits)
