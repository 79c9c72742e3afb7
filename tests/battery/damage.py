"""How files come to harm: bytes change, ends are lost, and records say something else than they should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["ODD", "Cut", "Flip", "Lie", "applied", "changes_of_bytes", "lies", "places"]

DEEP: Any = 0
for _ in range(40):
    DEEP = [DEEP]

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 1.5, -0.0, 1e300, -1e300, 2**31, 2**63, 10**40, 1e999, float("nan"), "", "1", "x",
    "../x", "/etc/passwd", "a\x00b", "\x1b[31mred", "\u202eno", "é" * 300, [], [[]], {}, {"a": 1}, ["x"], [None],
    [1e300], [True], [-1, 2], {"tensor": "x"}, {"method": "temperature"}, DEEP,
)  # fmt: skip


@dataclass(frozen=True)
class Flip:
    """One byte, at a share of the file's length, takes another value."""

    at: float
    by: int

    def __call__(self, content: bytes) -> bytes:
        """The file afterwards."""
        changed, place = bytearray(content), int(self.at * len(content))
        changed[place] ^= self.by
        return bytes(changed)


@dataclass(frozen=True)
class Cut:
    """Only a share of the file is left, less than all of it; or more follows."""

    at: float
    more: bytes = b""

    def __call__(self, content: bytes) -> bytes:
        """The file afterwards."""
        return content + self.more if self.more else content[: int(self.at * len(content))]


@dataclass(frozen=True)
class Lie:
    """What a record says at one place, a path of keys, is something else, is gone, or stands there besides."""

    place: tuple[str | int, ...]
    value: Any
    how: str = "replace"

    def __call__(self, content: bytes) -> bytes:
        """The file afterwards."""
        record = deepcopy(json.loads(content))
        if not self.place:
            return json.dumps(self.value).encode()
        inside = record
        for key in self.place[:-1]:
            inside = inside[key]
        if self.how == "remove":
            del inside[self.place[-1]]
        elif self.how == "add" and isinstance(inside, dict):
            inside["unheard of"] = self.value
        else:
            inside[self.place[-1]] = self.value
        return json.dumps(record).encode()


def applied(change: Flip | Cut | Lie, content: bytes) -> bytes:
    """The content after a change."""
    return change(content)


def places(record: Any, start: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all values of a record, outermost first; of a long list only the first and the last."""
    yield start
    if isinstance(record, dict):
        for key, value in record.items():
            yield from places(value, (*start, key))
    elif isinstance(record, list):
        for index in sorted({0, len(record) - 1} if record else ()):
            yield from places(record[index], (*start, index))


def changes_of_bytes() -> st.SearchStrategy[Flip | Cut]:
    """One changed byte, a lost end, or a tail."""
    share = st.floats(0, 1, exclude_max=True)
    return st.one_of(
        st.builds(Flip, share, st.integers(1, 255)),
        st.builds(Cut, share),
        st.builds(Cut, st.just(1.0), st.binary(min_size=1, max_size=9)),
    )


def lies(content: bytes) -> st.SearchStrategy[Lie]:
    """A record, given as JSON, that says anything at any of its keys."""
    everywhere = list(places(json.loads(content)))
    odd = st.one_of(
        st.sampled_from(ODD),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=5,
        ),
    )
    how = st.sampled_from(["replace"] * 4 + ["remove", "add"])
    return st.builds(Lie, st.sampled_from(everywhere), odd, how)
