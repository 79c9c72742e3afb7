"""How far rounding moves each selector's offset and the alpha: logits with relative noise, beside those without."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.repairs.cases import AFTER, Answers, Case, Recorded
from reclaim.calibration.evidence import Evidence
from reclaim.core.errors import BadInput
from reclaim.core.registry import find, names
from reclaim.repairs.choices import Choices
from reclaim.repairs.plan import plan
from reclaim.repairs.rows import Rows

__all__ = ["Moves", "moves", "noise_table"]

ALPHA = "alpha, as `repair` chooses it"
OFFSET = "the offset of `repair`"


@dataclass(frozen=True)
class Moves:
    """How far noise moved what, by its name: absolute differences, one per draw."""

    by_name: Mapping[str, Sequence[float]]


def moves(case: Case, draws: int, noise: float) -> Moves:
    """Of every selector's offset for the fine-tuned network, and of alpha and offset of a repair by weights.

    Args:
        noise: standard deviation of the relative error of each logit.
    """
    random = torch.Generator().manual_seed(0)
    whole = _changed(case, lambda z: _finer(z, random))
    plain = _choices(whole)
    found: dict[str, list[float]] = {name: [] for name in plain}
    for _ in range(draws):
        noisy = _changed(whole, lambda z: z * (1 + noise * torch.randn(z.shape, generator=random)))
        for name, value in _choices(noisy).items():
            found.setdefault(name, []).append(abs(value - plain.get(name, float("inf"))))
    return Moves(found)


def noise_table(found: Sequence[Moves]) -> str:
    """A line for each selector, and for alpha: shares of draws that moved it by more than so much, and the most."""
    lines = ["|  | draws | > .001 | > .01 | > .1 | largest |", "| --- | --- | --- | --- | --- | --- |"]
    for name in found[0].by_name:
        moved = np.concatenate([np.array(one.by_name.get(name, ())) for one in found])
        shares = " | ".join(f"{(moved > limit).mean():.1%}" for limit in (0.001, 0.01, 0.1))
        lines.append(f"| {name} | {len(moved):,} | {shares} | {moved.max():.4f} |")
    return "\n".join(lines)


def _choices(case: Case) -> dict[str, float]:
    before, after = case.held["weights", 0.0], case.held[AFTER]
    evidence = Evidence(
        seen=after,
        before=before,
        reference=after,
        unlabelled=case.unlabelled[AFTER],
        source=None if case.source is None else case.source[AFTER],
        labelled=case.labelled[AFTER],
    )
    made = {}
    for name in names("selectors"):
        try:
            made[name] = find("selectors", name)(
                replace(evidence, labelled=None, unlabelled=None) if name == "auto" else evidence
            ).offset
        except BadInput:
            continue
    held = case.held
    rows = Rows(held, held.rows(torch.arange(0, len(held), 2)), held.rows(torch.arange(1, len(held), 2)), held)
    chosen = plan(Recorded(), rows, Choices())
    return made | {ALPHA: chosen.alpha, OFFSET: _gap(chosen.offset, len(case.seen), case.seen)}


def _gap(calibrator: object, num_classes: int, seen: Tensor) -> float:
    """How much a calibrator that shifts logits raises the mean of absent ones beside that of seen ones."""
    shifts = calibrator(torch.zeros(1, num_classes))[0]  # type: ignore[operator]
    return float(shifts[~seen].mean() - shifts[seen].mean())


def _changed(case: Case, change: Callable[[Tensor], Tensor]) -> Case:
    """With other logits of the rows that choose."""

    def part(answers: Answers) -> Answers:
        return replace(answers, weights=change(answers.weights))

    return replace(
        case,
        held=part(case.held),
        unlabelled=part(case.unlabelled),
        labelled=part(case.labelled),
        source=None if case.source is None else part(case.source),
    )


def _finer(z: Tensor, random: torch.Generator) -> Tensor:
    """What was kept in half precision gets digits at random, so that noise breaks no ties of its rounding."""
    full = z.float()
    return full if z.dtype != torch.float16 else full * (1 + 2**-10 * (torch.rand(z.shape, generator=random) - 0.5))
