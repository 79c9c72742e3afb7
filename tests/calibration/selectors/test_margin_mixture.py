"""Margin mixture: it finds two populations that are really there."""

from math import log

import pytest
import torch

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.margin_mixture import margin_mixture
from reclaim.core.errors import BadInput
from reclaim.snapshots.snapshot import Snapshot
from tests.calibration.shared import EVIDENCE, lowered

SEEN = torch.tensor([True, True, False])


def rows(margin: torch.Tensor, labelled: bool) -> Snapshot:
    """Two seen classes and an absent one, with the given margins."""
    z = torch.stack([margin, margin - 9, torch.zeros_like(margin)], dim=1)
    return Snapshot(z, torch.zeros(len(z), dtype=torch.int64) if labelled else None, SEEN)


def normal(n: int, mean: float, seed: int) -> torch.Tensor:
    return mean + torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_finds_the_share_and_the_crossing_of_two_normal_populations() -> None:
    known = rows(normal(4000, 6.0, 0), labelled=True)
    mixed = rows(torch.cat([normal(3000, 6.0, 1), normal(1000, 1.0, 2)]), labelled=False)
    chosen = margin_mixture(Evidence(seen=known, unlabelled=mixed))
    assert chosen.details["absent_share"] == pytest.approx(0.25, abs=0.02)
    assert chosen.details["absent_mean"] == pytest.approx(1.0, abs=0.1)
    # equal variances: the densities cross where (x - 1)^2 / 2 - log .25 = (x - 6)^2 / 2 - log .75
    assert chosen.offset == pytest.approx(3.5 - log(3) / 5, abs=0.15)


def test_lowering_absent_logits_raises_it_by_as_much() -> None:
    moved = margin_mixture(lowered(EVIDENCE, 1.7)).offset
    assert moved == pytest.approx(margin_mixture(EVIDENCE).offset + 1.7, abs=0.02)  # a grid's width


@pytest.mark.parametrize("margin", [normal(300, 9.0, 1), torch.full((300,), 6.0, dtype=torch.float64)])
def test_if_no_population_stands_below_the_seen_one_it_says_so(margin: torch.Tensor) -> None:
    known = rows(normal(500, 6.0, 0), labelled=True)
    with pytest.raises(BadInput, match="no second population"):
        margin_mixture(Evidence(seen=known, unlabelled=rows(margin, labelled=False)))
