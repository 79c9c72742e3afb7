"""Try what users may bring, and print how often each kind was tried and mishandled.

Run: python -m tests.battery [--seed 0] [--tries 6000] [--only PART]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.battery.kinds import KINDS
from tests.battery.room import build
from tests.battery.tries import tried


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tries", type=int, default=6000, help="of all kinds together, by their weights")
    parser.add_argument("--only", default="", help="kinds whose name has this in it")
    parser.add_argument("--show", type=int, default=5, help="mishandled tries to show of each kind")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["RECLAIM_DEVICE"] = "cpu"
    kinds = [kind for kind in KINDS if given.only in kind.name]
    each = given.tries // sum(kind.weight for kind in kinds)
    tries = faults = 0
    with tempfile.TemporaryDirectory() as place:
        room = Path(place) / "room"
        room.mkdir()
        build(room)
        print(f"seed {given.seed}\n{'kind':32}{'tried':>8}{'refused':>9}{'mishandled':>12}{'seconds':>9}")
        for kind in kinds:
            begun = time.monotonic()
            tally = tried(kind, room, each * kind.weight, given.seed)
            tries, faults = tries + tally.tried, faults + len(tally.faults)
            seconds = time.monotonic() - begun
            print(f"{kind.name:32}{tally.tried:8}{tally.refused:9}{len(tally.faults):12}{seconds:9.1f}", flush=True)
            for what, wrong in tally.faults[: given.show]:
                print(f"    {what[:300]}\n      {wrong}", flush=True)
        print(f"{'together':32}{tries:8}{'':9}{faults:12}")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
