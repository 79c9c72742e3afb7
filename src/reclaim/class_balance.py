"""What to add to each class so that none is answered much too often."""

from __future__ import annotations

import torch
from torch import Tensor

from reclaim.arrays import row_blocks
from reclaim.errors import BadInput
from reclaim.selectors import Evidence, thinned
from reclaim.selectors.rate_matching import rate_matching
from reclaim.snapshot import Snapshot

__all__ = ["class_balance"]

_MOST_STEPS, _CLOSE = 50, 1e-3


def class_balance(rows: Snapshot, unlabelled: Snapshot | None = None, *, strength: float = 0.5) -> Tensor:
    """Shifts of the logits that bring the mean probability of each class nearer to its share, within its group.

    A network in a new domain answers some classes too often whatever it sees. With unlabelled target rows, every class
    should be as frequent as the next one: the shifts that make it so are found by turns, after an offset that makes the
    groups' shares right. Without them the held-out seen rows must do: among seen classes, the share of a class is that
    of its labels; among absent ones, which these rows resemble only by chance, no class should come up more than
    another, and one turn is taken. Either way one row more is counted for each class, so that few rows say little.

    Args:
        rows: answers on labelled held-out rows of seen classes.
        unlabelled: answers of the same model on target rows. Their classes are taken to be equally frequent.
        strength: how much of the shifts to take, from 0 (none) to 1; half guards against shares that are not equal.

    Returns: [C] float32, of mean zero within the seen and within the absent classes, so that the gap between the groups
        stays for an offset to close. All zero with one seen class and no unlabelled rows.
    Raises: BadInput for a strength outside [0, 1].
    Source: Saerens et al., "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation
        2002; Liusie et al., "Mitigating word bias in zero-shot prompt-based classifiers", 2023 (prior matching).
    Differs: groups apart, half of the way, and the form for seen rows is Reclaim's.
    """
    if not 0 <= strength <= 1:
        raise BadInput(f"the strength of the class balance is between 0 and 1; given: {strength}.")
    seen = rows.seen
    shifts = torch.zeros(len(seen), device=rows.logits.device)
    if strength == 0 or (unlabelled is None and int(seen.sum()) < 2):
        return shifts
    if unlabelled is not None:
        (some,) = thinned(unlabelled)
        z = some.logits.float() + rate_matching(Evidence(unlabelled=some)).offset * ~seen
        shifts = _matched(z, torch.full_like(shifts, len(z) / len(seen)), _MOST_STEPS)
    else:
        (some,) = thinned(rows)
        assert some.labels is not None
        counts = torch.bincount(some.labels, minlength=len(seen)).to(shifts)
        counts[~seen] = len(some) / float((~seen).sum())
        for group in (seen, ~seen):
            shifts[group] = _matched(some.logits[:, group].float(), counts[group], 1)
    for group in (seen, ~seen):
        shifts[group] -= shifts[group].mean()
    return strength * shifts


def _matched(z: Tensor, counts: Tensor, steps: int) -> Tensor:
    """Shifts [C] under which the probabilities of rows z [N, C] sum to the counts [C]; as far as so many steps lead."""
    shifts = torch.zeros_like(counts)
    for _ in range(steps):
        sums = torch.stack([(z[block] + shifts).softmax(dim=1).sum(dim=0) for block in row_blocks(z)]).sum(dim=0)
        change = ((counts + 1) / (sums + 1)).log()
        shifts += change
        if float(change.abs().max()) < _CLOSE:
            break
    return shifts
