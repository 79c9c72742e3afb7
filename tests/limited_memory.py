"""Fit calibrators on a snapshot in many files in processes that may not address the whole of it.

Run: python -m tests.limited_memory FOLDER METHOD…   Prints a line of JSON per method.
"""

import json
import mmap
import os
import resource
import sys
from pathlib import Path

import torch

from reclaim.core.registry import find
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


def limited(path: Path, method: str) -> dict[str, object]:
    """What a fit says in a process with this little room."""
    status = Path("/proc/self/status").read_text().splitlines()
    used = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    try:
        mmap.mmap(-1, WHOLE)
        return {"method": method, "error": "the whole would have fitted"}
    except OSError:
        pass
    try:
        snapshot = load_snapshot(path)
        fitted = find("calibrators", method).fit(snapshot.logits, snapshot.labels, snapshot.seen)
        some = snapshot.logits[1000:1100]
        return {"method": method, "answers": fitted(some).tolist()}
    except (RuntimeError, MemoryError) as error:
        return {"method": method, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    torch.set_num_threads(1)
    path = Path(sys.argv[1]) / "rows.safetensors"
    small = Snapshot(torch.randn(200, 4), torch.arange(200) % 2, torch.arange(4) < 2)
    for method in sys.argv[2:]:
        find("calibrators", method).fit(small.logits, small.labels, small.seen)  # loads what loads once
    save_snapshot(path, rows(), shard_size=WHOLE // 20)
    for method in sys.argv[2:]:
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            sys.stdout.write(json.dumps(limited(path, method)) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
