"""Work on a snapshot in many files in processes that may not address the whole of it.

Run: python -m tests.limited_memory FOLDER WORK…   Prints a line of JSON per work: a calibrator to fit, a selector to
choose an offset with, `evaluate`, or `reliability`.
"""

import json
import mmap
import os
import resource
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from reclaim.calibration.evidence import Evidence
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.report.evaluate import evaluate
from reclaim.report.reliability import reliability
from reclaim.snapshots.reading import load_snapshot
from reclaim.snapshots.snapshot import Snapshot
from reclaim.snapshots.writing import save_snapshot

ROWS, CLASSES = 250_000, 200
WHOLE = ROWS * CLASSES * 4
ROOM = WHOLE * 7 // 8


def rows() -> Snapshot:
    random = torch.Generator().manual_seed(0)
    y = torch.randint(0, CLASSES // 2, (ROWS,), generator=random)
    z = torch.randn(ROWS, CLASSES, generator=random) * 2
    z[torch.arange(ROWS), y] += 4
    return Snapshot(z, y, torch.arange(CLASSES) < CLASSES // 2)


def done(work: str, snapshot: Snapshot) -> object:
    """What a fit answers for some rows, which offset a selector chooses, or what an evaluation says."""
    if work == "evaluate":
        return evaluate(snapshot).record()
    if work == "reliability":
        return reliability(snapshot, resamples=20).record()
    if work in names("selectors"):
        seen = replace(snapshot, checked=snapshot.logits)
        return find("selectors", work)(Evidence(seen, before=seen, unlabelled=seen)).offset
    fitted = find("calibrators", work).fit(snapshot)
    return fitted(snapshot.logits[1000:1100]).tolist()


def limited(path: Path, work: str) -> dict[str, object]:
    """What is said in a process with this little room."""
    status = Path("/proc/self/status").read_text().splitlines()
    used = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    try:
        mmap.mmap(-1, WHOLE)
        return {"work": work, "error": "the whole would have fitted"}
    except OSError:
        pass
    try:
        return {"work": work, "answers": done(work, load_snapshot(path))}
    except BadInput as error:
        return {"work": work, "refused": str(error)}
    except (RuntimeError, MemoryError) as error:
        return {"work": work, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    torch.set_num_threads(1)
    path = Path(sys.argv[1]) / "rows.safetensors"
    small = Snapshot(torch.randn(200, 4), torch.arange(200) % 2, torch.arange(4) < 2)
    for work in sys.argv[2:]:
        with suppress(BadInput):
            done(work, small)  # loads what loads once
    save_snapshot(path, rows(), shard_size=WHOLE // 20)
    for work in sys.argv[2:]:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            sys.stdout.write(json.dumps(limited(path, work)) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
