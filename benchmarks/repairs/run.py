"""Repairs over many scenarios: what each choice of mixture and offset costs against the best one in hindsight.

Run: python -m benchmarks.repairs.run run --set design --minutes 40
     python -m benchmarks.repairs.run run --families digits-shift,cld3-emoji --pseudo
     python -m benchmarks.repairs.run table --set design
     python -m benchmarks.repairs.run table --set design --alphas
     python -m benchmarks.repairs.run table --set design --grid none isotonic
     python -m benchmarks.repairs.run promise --set design --confidence 0.95
     python -m benchmarks.repairs.run noise --set design --noise 1e-5

`run` fine-tunes every scenario and keeps the answers of all mixtures in out/bench/repair (`scenarios.cache` says what),
so that methods are compared without training again. What is there already is skipped, so a run may be stopped at any
time and started again. Real networks and images are read from the folder RECLAIM_DATA; families that lack theirs are
left out, and named.

The scenarios are divided by family into a design set and a confirmation set. Methods are made and chosen on the design
set only; the confirmation set is looked at once, at the end. `run` therefore prints accuracies of the design set alone,
and of the other only whether the pretrained network is better than chance. `table` compares the ways of choosing:
"regret" is the accuracy over all classes lost against the best pair in hindsight; "above" is the share of scenarios
better than both networks and than the best offset on the fine-tuned one in hindsight; "below" that of scenarios more
than .01 worse than the better network; "seen lost" is against the fine-tuned network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from benchmarks.repairs.cases import Case
from benchmarks.repairs.grid import CALIBRATORS, grid, grid_table
from benchmarks.repairs.noise import moves, noise_table
from benchmarks.repairs.promise import losses, promise_table
from benchmarks.repairs.regret import OF_ALPHAS, WAYS, Outcome, judged, table
from benchmarks.repairs.scenarios.cache import load, path_of, pseudo_snapshots, save, snapshots
from benchmarks.repairs.scenarios.records import Family
from benchmarks.repairs.scenarios.registry import FAMILIES
from benchmarks.repairs.ways import Way
from reclaim.core.errors import BadInput

__all__ = ["load", "main"]


def run(families: list[Family], minutes: float, pseudo: bool) -> None:
    """Fill the cache; families in the order given."""
    until = time.monotonic() + 60 * minutes
    for family in families:
        if family.missing:
            print(f"{family.name}: left out, {family.missing}", flush=True)
            continue
        for number, scenario in enumerate(family.scenarios, 1):
            path = path_of(scenario.name, pseudo=pseudo)
            if path.exists():
                continue
            if time.monotonic() > until:
                print("no time is left for another scenario", flush=True)
                return
            start = time.perf_counter()
            try:
                world = family.make(scenario)
                made = (pseudo_snapshots if pseudo else snapshots)(scenario, world)
            except BadInput as error:
                print(f"{scenario.name}: failed, {error}", flush=True)
                continue
            save(path, scenario, world.data.classes, made)
            seconds = time.perf_counter() - start
            what = "pseudo splits" if pseudo else summary(family, made)
            print(f"{number}/{len(family.scenarios)} {scenario.name}: {seconds:.0f} s, {what}", flush=True)


def summary(family: Family, made: Mapping[str, Tensor]) -> str:
    """What may be said of a scenario."""
    seen, y, z = made["seen"], made["labels.test"], made["mix.test"]
    right = (z.argmax(dim=2) == y).double()
    if family.group == "confirmation":
        return "better than chance" if float(right[0].mean()) > 2 / z.shape[2] else "AT CHANCE before"
    rows = {"seen": seen[y], "absent": ~seen[y]}
    before, after = (", ".join(f"{name} {row[rows[name]].mean():.3f}" for name in rows) for row in right[[0, -1]])
    return f"before {before}; after {after}"


def compare(
    families: list[Family],
    ways: Mapping[str, Way],
    show: Callable[[Mapping[str, Sequence[dict[str, Outcome]]]], str] = table,
    per_class: int | None = None,
    by_share: bool = False,
) -> None:
    """Print a table of regrets over the scenarios that are kept, by family or by the share of classes seen."""
    outcomes: dict[str, list[dict[str, Outcome]]] = {}
    for family in families:
        for scenario in family.scenarios:
            if path_of(scenario.name).exists():
                pseudo = load(scenario.name, pseudo=True) if path_of(scenario.name, pseudo=True).exists() else None
                case = Case.of(load(scenario.name), pseudo, per_class)
                column = f"{10 * round(10 * float(case.seen.double().mean()))} % seen" if by_share else family.name
                outcomes.setdefault(column, []).append(judged(case, ways))
    counts = ", ".join(f"{name} {len(made)}" for name, made in outcomes.items())
    print(f"{sum(map(len, outcomes.values()))} scenarios: {counts}\n\n{show(outcomes)}")


def kept(families: list[Family], draws: int, budget: float, confidence: float | None) -> None:
    """Print what becomes of the promise over many divisions of the rows of every scenario."""
    found = {
        family.name: [losses(load(scenario.name), draws, budget, confidence) for scenario in family.scenarios
                      if path_of(scenario.name).exists()]
        for family in families
    }  # fmt: skip
    print(promise_table({name: parts for name, parts in found.items() if any(parts)}, budget))


def shaken(families: list[Family], draws: int, noise: float) -> None:
    """Print how far noise of the size of rounding moves what is chosen."""
    found = [
        moves(Case.of(load(scenario.name), None), draws, noise)
        for family in families
        for scenario in family.scenarios
        if path_of(scenario.name).exists()
    ]
    print(f"{len(found)} scenarios\n\n{noise_table(found)}")


def chosen(group: str | None, names: str | None) -> list[Family]:
    """The families of a set, or those named."""
    known = {family.name: family for family in FAMILIES}
    if names is None:
        return [family for family in FAMILIES if group in (None, family.group)]
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"no family {', '.join(unknown)}; there are {', '.join(known)}.")
    return [known[name] for name in names.split(",")]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    running = commands.add_parser("run", help="fine-tune the scenarios and keep what the networks answer")
    running.add_argument("--set", dest="group", choices=("design", "confirmation"), help="of families; both by default")
    running.add_argument("--families", help="some only, with commas; in the order given")
    running.add_argument("--minutes", type=float, default=float("inf"), help="start no scenario after so long")
    running.add_argument("--pseudo", action="store_true", help="the fine-tunings of pseudo cross-validation instead")
    running.set_defaults(call=lambda given: run(chosen(given.group, given.families), given.minutes, given.pseudo))
    judging = commands.add_parser("table", help="compare the ways of choosing on what is kept")
    judging.add_argument(
        "--set", dest="group", choices=("design", "confirmation"), default="design", help="of families"
    )
    judging.add_argument("--families", help="some only, with commas")
    judging.add_argument("--per-class", type=int, help="so few held-out rows of each class only")
    judging.add_argument("--by-share", action="store_true", help="a column for each share of seen classes, not family")
    other = judging.add_mutually_exclusive_group()
    other.add_argument("--alphas", "--weights", action="store_true", help="rules for alpha alone, without a budget")
    other.add_argument(
        "--grid",
        nargs="*",
        choices=CALIBRATORS,
        help="every mixture with every selector and these calibrators, all by default, which takes hours",
    )
    judging.set_defaults(
        call=lambda given: compare(
            chosen(given.group, given.families),
            OF_ALPHAS if given.alphas else WAYS if given.grid is None else grid(given.grid or CALIBRATORS),
            table if given.grid is None else grid_table,
            given.per_class,
            given.by_share,
        )
    )
    promising = commands.add_parser("promise", help="divide the rows again and again: is the budget kept?")
    promising.add_argument("--set", dest="group", choices=("design", "confirmation"), default="design")
    promising.add_argument("--families", help="some only, with commas")
    promising.add_argument("--draws", type=int, default=20, help="per scenario")
    promising.add_argument("--budget", type=float, default=0.05)
    promising.add_argument("--confidence", type=float)
    promising.set_defaults(
        call=lambda given: kept(chosen(given.group, given.families), given.draws, given.budget, given.confidence)
    )
    shaking = commands.add_parser("noise", help="add noise of the size of rounding to the logits: what moves?")
    shaking.add_argument("--set", dest="group", choices=("design", "confirmation"), default="design")
    shaking.add_argument("--families", help="some only, with commas")
    shaking.add_argument("--draws", type=int, default=20, help="per scenario")
    shaking.add_argument("--noise", type=float, default=1e-6, help="relative, of each logit")
    shaking.set_defaults(call=lambda given: shaken(chosen(given.group, given.families), given.draws, given.noise))
    given = parser.parse_args()
    given.call(given)


if __name__ == "__main__":
    main()
