"""Put small faults into a room of the library, one at a time, and count those that its tests see.

Run: python -m tests.mutants ROOM [--count 40] [--seed 0]   Prints each fault that no test saw, and the rate.

A fault is an operator, a comparison, a number, a truth value, `and` or `or`, an operand of these, a `not`, a branch of
a conditional expression, a keyword at a call, or a default, that is another one or is left out. Each is put into a copy
of `src`, against which the tests of the room run until the first failure, those that run the changed line first.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from tests.reach import Chosen, Noting, Reach, module_of

ROOT = Path(__file__).parent.parent
CONTRACTS = "tests/contracts"

# what is changed, and what must see it
ROOMS = {
    "selectors": (
        ["calibration/selectors"],
        ["tests/calibration/selectors", f"{CONTRACTS}/test_every_selector.py", "tests/calibration/test_arguments.py",
         f"{CONTRACTS}/test_groups_stay_together.py"],
    ),
    "calibrators": (
        ["calibration/calibrators", "calibration/fitting"],
        ["tests/calibration/calibrators", "tests/calibration/fitting", f"{CONTRACTS}/test_every_calibrator.py",
         f"{CONTRACTS}/test_numbers_of_calibrators.py"],
    ),
    "repairs": (
        ["repairs"],
        ["tests/repairs", f"{CONTRACTS}/test_groups_stay_together.py", f"{CONTRACTS}/test_half_precision.py",
         f"{CONTRACTS}/test_networks_stay.py"],
    ),
    "resume": (["training/resume.py"], ["tests/training/test_resume.py"]),
    "commands": (["cli"], ["tests/cli"]),
}  # fmt: skip

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.MatMult: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or,
    ast.Or: ast.And,
}  # fmt: skip
SILENT = (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)  # wording, and what is no behaviour
WARM = ("torch", "numpy", "scipy.optimize", "scipy.stats", "sklearn.linear_model", "rich.console", "cyclopts", "pytest",
        "safetensors.torch", "PIL.Image", "msgspec", "torch.utils.data")  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One change of one file.

    Attributes:
        file: below `src/reclaim`.
        line, last: where.
        before, after: the source there, as it is and with the fault.
        start, end: where it stands in the file, in bytes.
    """

    file: str
    line: int
    last: int
    before: str
    after: str
    start: int
    end: int

    def put_into(self, content: bytes) -> bytes:
        """The file with the fault."""
        return content[: self.start] + f"({self.after})".encode() + content[self.end :]


def faults_of(file: Path) -> list[Fault]:
    """Every fault that a file can have."""
    content = file.read_bytes()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in _places(ast.parse(content)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before = content[start:end].decode()
        made = [ast.unparse(changed) for changed in _changes(node)]
        found += [Fault(_below(file), node.lineno, node.end_lineno or 0, before, after, start, end) for after in made]
    return found


def _below(file: Path) -> str:
    return str(file.relative_to(ROOT / "src/reclaim"))


def _places(node: ast.AST) -> Iterator[ast.expr]:
    """Expressions that decide what the program does: neither annotations, nor wording, nor lists of names."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, SILENT) or _is_alias(child):
                continue
            if isinstance(child, ast.expr):
                yield child
            yield from _places(child)


def _is_alias(node: ast.AST) -> bool:
    """Whether a statement names types, or what a module exports."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
        return node.value.func.id == "TypeVar"
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"


def _changes(node: ast.expr) -> Iterator[ast.expr]:
    """The faults of one expression itself, not of its parts."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
        yield _with(node, op=SWAPPED[type(node.op)]())
    elif isinstance(node, ast.Compare):
        for place, kind in enumerate(node.ops):
            yield _with(node, ops=[*node.ops[:place], SWAPPED[type(kind)](), *node.ops[place + 1 :]])
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=SWAPPED[type(node.op)]())
        for place in range(len(node.values)):
            left = [value for at, value in enumerate(node.values) if at != place]
            yield left[0] if len(left) == 1 else _with(node, values=left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        if isinstance(node.body, ast.JoinedStr) or isinstance(node.orelse, ast.JoinedStr):
            return  # wording
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            larger = 1e6 if abs(node.value) < 1e-5 else 2  # of a tolerance, the double makes no difference
            yield ast.Constant(node.value + 1 if isinstance(node.value, int) else larger * node.value or 1.0)
    elif isinstance(node, ast.Call):
        for place, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield _with(node, keywords=[k for at, k in enumerate(node.keywords) if at != place])


def _with(node: ast.expr, **parts: object) -> ast.expr:
    made = deepcopy(node)
    for name, value in parts.items():
        setattr(made, name, value)
    return made


def run(source: Path, tests: list[str], longest: float, plugin: object, kept: Path | None = None) -> bool:
    """Whether all tests pass against a copy of `src`, in a child of this warm process; one that hangs does not.

    Args:
        kept: where the child leaves what the plugin noted.
    """
    if (child := os.fork()) == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        os.environ["PYTHONPATH"] = f"{source}:{ROOT}"
        sys.path[:0] = [str(source), str(ROOT)]
        os.chdir(ROOT)
        code = 1
        try:
            words = [*tests, "-x", "-q", "-m", "not real and not gpu", "-p", "no:cacheprovider"]
            code = int(importlib.import_module("pytest").main(words, [plugin]))
            if kept is not None and isinstance(plugin, Noting):
                kept.write_bytes(pickle.dumps(plugin.reach))
        finally:
            os._exit(code)
    end = time.monotonic() + longest
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def noted(source: Path, tests: list[str], kept: Path) -> Reach | None:
    """What the tests reach while nothing is changed; None if they fail."""
    plugin = Noting(source / "reclaim")
    return pickle.loads(kept.read_bytes()) if run(source, tests, 3600, plugin, kept) else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    places, tests = ROOMS[given.room]
    files = [file for place in places for file in _files(ROOT / "src/reclaim" / place)]
    every = [fault for file in files for fault in faults_of(file)]
    chosen = random.Random(given.seed).sample(every, min(given.count, len(every)))
    for name in WARM:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "src"
        shutil.copytree(ROOT / "src", source)
        if (reach := noted(source, [test for test in tests if (ROOT / test).exists()], Path(place) / "reach")) is None:
            print("the tests fail without a fault")
            return 2
        longest = 3 * sum(reach.seconds.values()) + 20
        seen = 0
        for fault in sorted(chosen, key=lambda fault: (fault.file, fault.line)):
            first = reach.first(fault.file, range(fault.line, fault.last + 1))
            changed = source / "reclaim" / fault.file
            content = changed.read_bytes()
            changed.write_bytes(fault.put_into(content))
            found = not run(source, list(dict.fromkeys(map(module_of, first))), longest, Chosen(first))
            changed.write_bytes(content)
            seen += found
            print(f"{'seen  ' if found else 'UNSEEN'} {fault.file}:{fault.line}", end=" ")
            print(f"`{' '.join(fault.before.split())[:90]}` -> `{fault.after[:90]}`", flush=True)
    rate = f"{seen} of {len(chosen)} faults seen, {seen / len(chosen):.0%}"
    print(f"{given.room}: {rate} (seed {given.seed}, of {len(every)} that there can be)")
    return 0


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(file for file in place.rglob("*.py") if file.name != "__init__.py")


if __name__ == "__main__":
    sys.exit(main())
