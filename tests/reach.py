"""Which tests reach which lines, so that a fault meets first those that can see it."""

from __future__ import annotations

import inspect
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn")


@dataclass
class Reach:
    """What the tests of a room did while nothing was changed.

    Attributes:
        lines: per test, (file, line) of what it ran; of a fixture, what any test of its module ran.
        seconds: per test.
        elsewhere: tests that started other processes, whose lines nobody noted.
    """

    lines: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)

    def first(self, file: str, lines: range) -> list[str]:
        """Tests that can see a fault in some lines: those that run them, quick modules first, and then those that start
        other processes. Of lines that run when the file is imported, all tests of modules that run some of the file.
        """
        modules = {module_of(test) for test in self.lines if any(f == file for f, _ in self.lines[test])}
        wanted = [test for test in self.seconds if module_of(test) in modules or test in self.elsewhere]
        there = {(file, line) for line in lines}
        near = {test: not there.isdisjoint(self.lines.get(test, ())) for test in wanted}
        if any(near.values()):
            wanted = [test for test in wanted if near[test] or test in self.elsewhere]
        whole: dict[tuple[bool, str], float] = defaultdict(float)
        for test in wanted:
            whole[near[test], module_of(test)] += self.seconds[test]
        return sorted(wanted, key=lambda t: (not near[t], whole[near[t], module_of(t)], module_of(t), self.seconds[t]))


def module_of(test: str) -> str:
    """The file of a test."""
    return test.partition("::")[0]


class Noting:
    """A plugin that notes what each test reaches below a folder."""

    def __init__(self, source: Path) -> None:
        self.reach, self.prefix, self.test = Reach(), f"{source}/", ""
        self.shared: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.now: set[tuple[str, int]] = set()
        sys.addaudithook(self._started)

    def _started(self, event: str, _: tuple[Any, ...]) -> None:
        if event in STARTS and self.test:
            self.reach.elsewhere.add(self.test)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(self.prefix) or not code.co_flags & inspect.CO_OPTIMIZED:
            return None  # the body of a module or a class runs for the first test that imports it, and counts for all
        name = code.co_filename.removeprefix(self.prefix)
        now = self.now

        def within(frame: FrameType, event: str, _: Any) -> Any:
            now.add((name, frame.f_lineno))
            return within

        return within

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.test, begun = item.nodeid, time.perf_counter()
        try:
            return (yield)
        finally:
            self.reach.seconds[item.nodeid], self.test = time.perf_counter() - begun, ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        yield from self._noted(self.shared[module_of(item.nodeid)])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        yield from self._noted(self.reach.lines.setdefault(item.nodeid, set()))

    def _noted(self, kept: set[tuple[str, int]]) -> Iterator[None]:
        self.now = kept
        sys.settrace(self._enter)
        try:
            return (yield)
        finally:
            sys.settrace(None)

    def pytest_sessionfinish(self) -> None:
        for test, lines in self.reach.lines.items():
            lines |= self.shared[module_of(test)]


class Chosen:
    """A plugin that runs some tests alone, in the order given."""

    def __init__(self, tests: Collection[str]) -> None:
        self.places = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.places), key=lambda item: self.places[item.nodeid])
