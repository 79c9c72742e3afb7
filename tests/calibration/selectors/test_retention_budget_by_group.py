"""The certificate where rows belong together: the group is what is drawn, and each counts once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from reclaim.calibration.calibrators.constrained import Constrained
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.auto import auto
from reclaim.calibration.selectors.retention_budget import retention_budget, rows_needed
from reclaim.core.errors import BadInput
from reclaim.core.groups import group_weights
from reclaim.snapshots.metrics.margins import margins
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

WAYS = pytest.mark.parametrize("confidence", [None, 0.9])


def grouped(n: int = 900, groups: int = 150, seed: int = 0, spread: float = 2.0) -> Snapshot:
    """Seen rows in groups of different sizes; the rows of a group are shifted together."""
    random = torch.Generator().manual_seed(seed)
    rows = toys.snapshot(n, seed=seed).seen_rows()
    which = (torch.rand(len(rows), generator=random) ** 2 * groups).long()
    shift = spread * torch.randn(groups, 1, generator=random)
    return replace(rows.with_logits(rows.logits + shift[which] * ~rows.seen), groups=which)


def loss(rows: Snapshot, offset: float) -> float:
    """The mean over groups of the share of rows that were right and are no longer."""
    m = margins(rows.logits, rows.labels, rows.seen)
    lost = (m.right & (m.margin <= offset)).double()
    return float(torch.stack([lost[rows.groups == group].mean() for group in rows.groups.unique()]).mean())


@pytest.mark.parametrize("budget", [0.02, 0.05, 0.2])
def test_it_is_the_last_step_that_the_rule_allows(budget: float) -> None:
    rows = grouped()
    n = rows.units
    offset = retention_budget(Evidence(seen=rows), budget=budget).offset
    m = margins(rows.logits, rows.labels, rows.seen)
    after = float(m.margin[m.right & (m.margin > offset)].min())
    assert (n * loss(rows, offset) + 1) / (n + 1) <= budget + 1e-9
    assert (n * loss(rows, after) + 1) / (n + 1) > budget


@WAYS
def test_a_row_per_group_is_as_good_as_none_on_average(confidence: float | None) -> None:
    rows = toys.snapshot(900).seen_rows()
    alone = retention_budget(Evidence(seen=rows), confidence=confidence)
    single = retention_budget(Evidence(seen=replace(rows, groups=torch.arange(len(rows)))), confidence=confidence)
    if confidence is None:
        assert single.offset == alone.offset
    else:  # Bentkus' inequality costs a factor of e of the risk
        assert single.offset <= alone.offset
        assert single.offset == retention_budget(Evidence(seen=rows), confidence=1 - 0.1 / 2.718281828459045).offset


@WAYS
@pytest.mark.parametrize("times", [2, 7])
def test_copies_of_rows_within_their_group_tighten_nothing(times: int, confidence: float | None) -> None:
    rows = grouped()
    often = rows.rows(torch.arange(len(rows)).repeat_interleave(times))
    once, again = (retention_budget(Evidence(seen=r), confidence=confidence) for r in (rows, often))
    assert again.offset == once.offset and again.guarantee == once.guarantee
    assert f"n = {rows.units} groups" in once.guarantee
    naive = retention_budget(Evidence(seen=replace(often, groups=None)), confidence=confidence)
    assert f"n = {len(often)}" in naive.guarantee


@WAYS
def test_too_few_groups_certify_nothing_however_many_rows_they_have(confidence: float | None) -> None:
    rows = replace(toys.snapshot(4000).seen_rows(), groups=None)
    rows = replace(rows, groups=torch.arange(len(rows)) % 12)
    evidence = Evidence(seen=rows, before=rows)
    needed = rows_needed(evidence, 0.05, confidence)
    with pytest.raises(BadInput, match=rf"12 held-out groups of rows of seen classes cannot .*; {needed} are needed"):
        retention_budget(evidence, confidence=confidence)
    chosen = auto(evidence, confidence=confidence)
    assert (
        chosen.guarantee is None and f"12 held-out groups of rows cannot certify a budget and {needed}" in chosen.reason
    )


def sampled(population: Snapshot, groups: int, rounds: int) -> Iterator[Snapshot]:
    """Held-out sets of that many groups, drawn from the population."""
    random = torch.Generator().manual_seed(1)
    members = [(population.groups == group).nonzero().squeeze(1) for group in population.groups.unique()]
    for _ in range(rounds):
        drawn = [members[i] for i in torch.randint(0, len(members), (groups,), generator=random).tolist()]
        which = torch.cat([torch.full((len(rows),), i) for i, rows in enumerate(drawn)])
        yield replace(population.rows(torch.cat(drawn)), groups=which)


@WAYS
def test_the_promise_holds_for_new_groups_and_one_by_rows_does_not(confidence: float | None) -> None:
    """The loss on a population of groups, whose rows are lost together, of budgets certified on 60 groups."""
    budget = 0.1
    population = grouped(4000, 1000, seed=5, spread=6.0)
    m = margins(population.logits, population.labels, population.seen)
    weights = group_weights(population.groups) / population.units
    found = {"groups": [], "rows": []}
    for held in sampled(population, 60, 200):
        for name, rows in (("groups", held), ("rows", replace(held, groups=None))):
            offset = retention_budget(Evidence(seen=rows), budget=budget, confidence=confidence).offset
            found[name].append(float((weights * (m.right & (m.margin <= offset))).sum()))
    by_groups, by_rows = (torch.tensor(found[name]) for name in ("groups", "rows"))
    if confidence is None:
        assert float(by_groups.mean()) <= budget + 2 * float(by_groups.std()) / len(by_groups) ** 0.5
        assert float(by_groups.mean()) < float(by_rows.mean())
    else:
        assert float((by_groups > budget).double().mean()) <= 1 - confidence
        assert float((by_rows > budget).double().mean()) > 1 - confidence


def test_a_reference_is_compared_group_by_group() -> None:
    rows = grouped()
    better = rows.with_logits(rows.logits + 2.0 * torch.nn.functional.one_hot(rows.labels, 7))
    own = retention_budget(Evidence(seen=rows), budget=0.2)
    against = retention_budget(Evidence(seen=rows, reference=better), budget=0.2)
    assert against.offset < own.offset
    assert retention_budget(Evidence(seen=rows, reference=rows), budget=0.2).offset == own.offset


def test_the_constrained_calibrator_certifies_groups_too() -> None:
    rows = grouped()
    made = Constrained.fit(rows.seen_rows(), budget=0.1)
    assert f"n = {rows.units} groups" in made.guarantee
