"""What to add to each class so that none is answered much too often."""

from __future__ import annotations

import torch
from torch import Tensor

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.rate_matching import rate_matching
from reclaim.core.arrays import row_blocks
from reclaim.core.errors import BadInput
from reclaim.core.numbers import Share, in_range
from reclaim.snapshots.snapshot import Snapshot

__all__ = ["class_shifts"]

_MOST_TURNS, _CLOSE = 50, 1e-3


@in_range
def class_shifts(rows: Snapshot, target: Snapshot | None = None, *, strength: Share = 0.5) -> Tensor:
    """Shifts of the logits that bring the mean probability of each class nearer to its share, within its group.

    A network in a new domain answers some classes too often whatever it sees. With target rows of all classes, the
    shifts that give each class its share are found by turns, after an offset that gives the groups theirs. Without
    them the held-out seen rows must do: among seen classes, the share of a class is that of its labels; among absent
    ones, which these rows resemble only by chance, no class should come up more than another, and one turn is taken.
    Either way one row more is counted for each class, so that few rows say little.

    Args:
        rows: answers on labelled held-out rows of seen classes.
        target: answers of the same model on rows of the target domain. Their labels tell the shares; without labels
            all classes are taken to be equally frequent.
        strength: how much of the shifts to take, from 0 (none) to 1; half guards against shares that are not so.

    Returns: [C] float32, of mean zero within the seen and within the absent classes, so that the gap between the groups
        stays for an offset to close. All zero with one seen class and no target rows.
    Raises: BadInput for a strength outside [0, 1].
    Source: Saerens et al., "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation
        2002; Liusie et al., "Mitigating word bias in zero-shot prompt-based classifiers", 2023 (prior matching).
    Differs: groups apart, half of the way, and the form for seen rows is Reclaim's.
    """
    if not 0 <= strength <= 1:
        raise BadInput(f"the strength of the class shifts is between 0 and 1; given: {strength}.")
    seen = rows.seen
    shifts = torch.zeros(len(seen), device=rows.logits.device)
    if strength == 0 or (target is None and int(seen.sum()) < 2):
        return shifts
    if target is not None:
        some = target.thinned()
        counts = torch.full_like(shifts, len(some) / len(seen)) if some.labels is None else _counts(some)
        absent = float(counts[~seen].sum() / counts.sum())
        known = 0 < absent < 1
        offset = rate_matching(Evidence(unlabelled=some), rate=absent).offset if known else 0.0
        shifts = _matched(some.logits + offset * ~seen, counts, _MOST_TURNS)
    else:
        some = rows.thinned()
        counts = _counts(some)
        counts[~seen] = len(some) / float((~seen).sum())
        for group in (seen, ~seen):
            shifts[group] = _matched(some.logits[:, group], counts[group], 1)
    for group in (seen, ~seen):
        shifts[group] -= shifts[group].mean()
    return strength * shifts


def _counts(rows: Snapshot) -> Tensor:
    return torch.bincount(rows.known_labels, minlength=len(rows.seen)).float()


def _matched(z: Tensor, counts: Tensor, turns: int) -> Tensor:
    """Shifts [C] under which the probabilities of rows z [N, C] sum to the counts [C]; as far as so many turns lead."""
    shifts = torch.zeros_like(counts)
    for _ in range(turns):
        sums = sum((z[block].float() + shifts).softmax(dim=1).sum(dim=0) for block in row_blocks(z))
        change = ((counts + 1) / (sums + 1)).log()
        shifts += change
        if float(change.abs().max()) < _CLOSE:
            break
    return shifts
