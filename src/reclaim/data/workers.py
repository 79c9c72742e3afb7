"""How many processes decode examples, where nobody says."""

from __future__ import annotations

import logging
import os
import sys

import numpy as np

from reclaim.core.memory import free_shared_memory
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.protocol import Maker, size_in_bytes
from reclaim.data.records import Split

__all__ = ["default_workers"]

log = logging.getLogger(__name__)

ENOUGH = 512  # examples from which on processes are worth their start
CORES = 4  # from which on some are free for them
MOST = 12  # processes; more were not faster
AHEAD = 2  # batches that each process makes ahead


def default_workers(rows: Split, make: Maker, batch_size: int, *, on_gpu: bool) -> int:
    """How many processes decode these examples.

    Some for many images that must be decoded or scaled, and none for what is an input already. On a CPU, which also
    runs the network, a quarter of the cores. Batches come through shared memory, which is small in some containers:
    they may fill half of what is free there.

    Args:
        on_gpu: whether the network runs on one.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 0  # elsewhere they would be started anew
    if not isinstance(make, Preprocess) or len(rows) < ENOUGH or cores < CORES:
        return 0
    example = rows.read(0)
    if isinstance(example, np.ndarray) and example.dtype != np.uint8:  # an input already
        return 0
    wanted = min(cores - 1 if on_gpu else cores // 4, MOST)
    room = free_shared_memory() // 2 // (AHEAD * batch_size * size_in_bytes(make(example)))
    workers = min(wanted, room)
    if workers < wanted:
        log.info("shared memory (/dev/shm) has room for the batches of %d of %d processes", workers, wanted)
    log.info("examples are decoded by %s; workers= says otherwise", f"{workers} processes" if workers else "this one")
    return workers
