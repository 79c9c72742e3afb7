"""Tensors in parts, for snapshots larger than memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from reclaim.core.compat import map_leaves, tensor_without_values
from reclaim.core.several import alone, several

__all__ = ["Shards", "by_rows", "through"]


class Shards(Tensor):
    """A tensor [N, D] in parts, of which one is open at a time.

    Rows taken by a slice or an index are read from their parts, so work that goes by blocks of rows takes the memory of
    a block and the address space of one part. Everything else that a tensor can do reads the whole first.

    Args:
        parts: functions that open each part, [n, D] of one type, in the order of their rows.
        sizes: rows of each.
        like: a tensor of that width and type.
        picked: [N] indices of the rows to show; None for all of them in order.
        changes: what rows go through when they are read: functions of [n, D] that treat rows independently.
    """

    @staticmethod
    def __new__(
        cls,
        parts: Sequence[Callable[[], Tensor]],
        sizes: Sequence[int],
        like: Tensor,
        picked: Tensor | None = None,
        changes: tuple[Callable[[Tensor], Tensor], ...] = (),
    ) -> Shards:
        n = sum(sizes) if picked is None else len(picked)
        return tensor_without_values(cls, (n, *like.shape[1:]), like.dtype)

    def __init__(
        self,
        parts: Sequence[Callable[[], Tensor]],
        sizes: Sequence[int],
        like: Tensor,
        picked: Tensor | None = None,
        changes: tuple[Callable[[Tensor], Tensor], ...] = (),
    ) -> None:
        self.parts, self.sizes, self.picked, self.changes = parts, sizes, picked, changes
        self.like = like[:0].clone()
        self.ends = torch.tensor(sizes).cumsum(0)
        self.opened: tuple[int, Tensor] | None = None

    def __getitem__(self, rows: Any) -> Tensor:
        """Rows, read from their parts; [N] bool, indices or a slice. Any other index reads the whole first."""
        if not isinstance(rows, slice | Tensor):
            return self.whole()[rows]
        if self.picked is not None:
            rows = self.picked[rows]
        elif isinstance(rows, Tensor):
            rows = rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows
        read = self._span(rows) if isinstance(rows, slice) else self._scattered(rows)
        for change in self.changes:
            read = change(read)
        return read

    def detach(self) -> Shards:
        """Itself: what is read from files has no gradients."""
        return self

    def rows(self, which: Tensor) -> Shards:
        """Only some rows, [N] bool or indices; nothing is read."""
        if which.dtype == torch.bool:
            which = which.nonzero().squeeze(1)
        picked = which if self.picked is None else self.picked[which]
        return Shards(self.parts, self.sizes, self.like, picked, self.changes)

    def then(self, change: Callable[[Tensor], Tensor]) -> Shards:
        """The same rows, changed when they are read."""
        like = change(self.like)
        return Shards(self.parts, self.sizes, like, self.picked, (*self.changes, change))

    def whole(self) -> Tensor:
        """All rows in memory."""
        return self[:]

    def _part(self, index: int) -> Tensor:
        if self.opened is None or self.opened[0] != index:
            self.opened = None  # the last one goes before the next one comes
            self.opened = index, self.parts[index]()
        return self.opened[1]

    def _span(self, rows: slice) -> Tensor:
        first, last, step = rows.indices(int(self.ends[-1]))
        if step < 1:
            raise ValueError("step must be greater than zero")
        if first >= last:
            return self._part(0)[:0]
        index = int(torch.searchsorted(self.ends, first, right=True))
        if last > self.ends[index]:
            return self._scattered(torch.arange(first, last, step))
        begin = int(self.ends[index]) - self.sizes[index]
        return self._part(index)[first - begin : last - begin : step]

    def _scattered(self, rows: Tensor) -> Tensor:
        rows = torch.where(rows < 0, rows + int(self.ends[-1]), rows)
        home = torch.searchsorted(self.ends, rows, right=True)
        read = self._part(0).new_empty((len(rows), *self.shape[1:]))
        for index in home.unique().tolist():
            here = (home == index).nonzero().squeeze(1)
            read[here] = self._part(index)[rows[here] - (int(self.ends[index]) - self.sizes[index])]
        return read

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"Shards({list(self.shape)}, {self.dtype}, {len(self.parts)} parts)"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What is made like the rows needs none of them; rows by their index are read; the rest reads the whole."""
        name = func.overloadpacket.__name__  # type: ignore[attr-defined]
        if name.startswith("new_"):
            return func(args[0].like, *args[1:], **(kwargs or {}))
        if name == "index_select" and args[1] == 0:
            read, out = args[0][args[2]], (kwargs or {}).get("out")
            return read if out is None else out.copy_(read)
        return func(*map_leaves(cls, cls.whole, args), **map_leaves(cls, cls.whole, kwargs or {}))


def through(logits: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """`change` of logits [N, C]; of those in parts when they are read."""
    return logits.then(change) if isinstance(logits, Shards) else change(logits)


def by_rows(numbers: Callable[..., Sequence[Tensor]], logits: Tensor, *beside: Tensor) -> list[Tensor]:
    """What a function makes of rows, tensors with one entry per row; of several processes each reads its own rows.

    Args:
        numbers: of logits [n, C] and what is beside them, treats rows independently.
        logits: [N, C].
        beside: [N] each.
    """
    us = several()
    if us.count == 1 or len(logits) < us.count:
        return list(numbers(logits, *beside))
    own = us.share(len(logits))
    mine = slice(own.start, own.stop)
    part = logits.rows(torch.arange(own.start, own.stop)) if isinstance(logits, Shards) else logits[mine]
    with alone():
        made = numbers(part, *(values[mine] for values in beside))
    return [us.gathered(one, len(logits)) for one in made]
