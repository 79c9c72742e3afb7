"""Pseudo-absent rows: twins that go the way of the absent classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.pseudo_absent import estimated, pseudo_absent
from reclaim.core.errors import BadInput
from reclaim.snapshots.metrics.tradeoff import accuracies_at
from reclaim.snapshots.snapshot import Snapshot
from tests import toys
from tests.calibration.shared import EVIDENCE, lowered

GIVEN = Evidence(seen=EVIDENCE.seen, before=EVIDENCE.before)


def test_the_pretrained_model_itself_gets_no_offset() -> None:
    assert pseudo_absent(Evidence(seen=EVIDENCE.before, before=EVIDENCE.before)).offset == 0


def test_an_unchanged_model_is_estimated_as_right_on_absent_rows_as_on_seen_ones() -> None:
    before = GIVEN.before
    _, absent = accuracies_at(estimated(before, before), 0.0)
    assert absent == pytest.approx(float((before.logits.argmax(dim=1) == before.labels).double().mean()))


def test_lowering_absent_logits_raises_it_by_as_much() -> None:
    assert pseudo_absent(lowered(EVIDENCE, 1.7)).offset == pytest.approx(pseudo_absent(GIVEN).offset + 1.7, abs=1e-5)


def test_a_twin_by_hand() -> None:
    """One absent class: the twin's logit is the pretrained one and the change of that class, without spread."""
    seen = torch.tensor([True, True, False])
    before = Snapshot(torch.tensor([[5.0, 1.0, 2.0]]), torch.tensor([0]), seen)
    after = replace(before, logits=torch.tensor([[9.0, 4.0, -1.0]]))
    assert estimated(before, after).won.tolist() == pytest.approx([4.0 - (5.0 - 3.0)] * 4)
    worse = replace(
        before, logits=torch.tensor([[1.0, 1.0, 2.0]])
    )  # where the pretrained model is wrong no offset helps
    assert len(estimated(worse, after).won) == 0


def test_scrambled_absent_columns_lower_the_estimate() -> None:
    before, after = GIVEN.before, GIVEN.seen
    noise = 5 * torch.randn(after.logits.shape, generator=torch.Generator().manual_seed(0)) * ~after.seen
    torn = replace(after, logits=after.logits + noise)
    scrambled, given = (estimated(before, rows) for rows in (torn, after))
    assert len(scrambled.won) / scrambled.num_absent < len(given.won) / given.num_absent - 0.1


def test_many_rows_are_thinned_and_say_the_same() -> None:
    before, after = toys.snapshot(60_000, sunk=0.0).seen_rows(), toys.snapshot(60_000, sunk=2.0).seen_rows()
    few = Evidence(seen=after.rows(torch.arange(4000)), before=before.rows(torch.arange(4000)))
    many = pseudo_absent(Evidence(seen=after, before=before)).offset
    assert many == pytest.approx(pseudo_absent(few).offset, abs=0.6)


def test_one_seen_class_is_not_enough() -> None:
    rows = Snapshot(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64), torch.tensor([True, False, False]))
    with pytest.raises(BadInput, match="needs two seen classes"):
        pseudo_absent(Evidence(seen=rows, before=rows))


def offsets_by_hand(before: Snapshot, after: Snapshot) -> list[float]:
    """From which offset on each twin is right, row by row: the change of absent logits, weighed by how probable they
    were, and four steps of its spread."""
    absent, found = ~after.seen.numpy(), []
    for then, now, label in zip(
        before.logits.double().numpy(), after.logits.double().numpy(), after.labels, strict=True
    ):
        change, weight = (now - then)[absent], np.exp(then[absent]) / np.exp(then[absent]).sum()
        for eighth in (1, 3, 5, 7):
            spread = change.std(ddof=1) if len(change) > 1 else 0.0
            twin = then[label] + weight @ change + spread * norm.ppf(eighth / 8)
            others = np.delete(now, label)[np.delete(~absent, label)]
            if twin > now[absent].max():
                found.append(others.max() - twin)
    return sorted(found)


def test_twins_are_those_of_a_loop_over_rows() -> None:
    before, after = GIVEN.before.through(lambda z: 0.7 * z + z.sin()), GIVEN.seen
    made = estimated(before, after)
    assert made.won.tolist() == pytest.approx(offsets_by_hand(before, after), abs=1e-3)
    assert made.num_absent == 4 * made.num_seen == 4 * len(after)


def test_with_two_seen_classes_it_is_still_there() -> None:
    rows = toys.evidence(c=4)
    assert pseudo_absent(Evidence(seen=rows.seen, before=rows.before)).offset > 0


def changed(before: Snapshot, sunk: float) -> Snapshot:
    """What a fine-tuned model may answer: the absent classes sink, each row and class by a little more or less."""
    noise = torch.randn(before.logits.shape, generator=torch.Generator().manual_seed(8))
    return before.with_logits(before.logits * 1.2 + 0.4 * noise - sunk * ~before.seen)


@pytest.mark.parametrize("c", [3, 4, 5, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_twins_are_those_of_the_loop_for_any_number_of_classes(c: int, dtype: torch.dtype, factor: float) -> None:
    """One absent class, two, or four; a spread takes two."""
    before = toys.snapshot(n=60, c=c, sunk=0.0).seen_rows().through(lambda z: factor * z.to(dtype))
    after = changed(before, 2.0)
    made = estimated(before, after)
    assert made.won.tolist() == pytest.approx(offsets_by_hand(before, after), abs=1e-4 * factor)
    right = after.logits.masked_fill(~after.seen, -torch.inf).argmax(dim=1) == after.labels
    margin = toys.group_margin(after.logits, after.seen)[right].double()
    assert made.lost.tolist() == pytest.approx(sorted(margin.tolist()), abs=1e-6 * factor)
    assert (made.num_seen, made.num_absent) == (len(after), 4 * len(after))


def test_every_field_follows_from_the_twins() -> None:
    """The offset is the best one after less the best one before, where every class counts alike."""
    before = GIVEN.before
    after = changed(before, 2.0)
    chosen = pseudo_absent(Evidence(seen=after, before=before))

    by_hand = {id(now): np.array(offsets_by_hand(before, now)) for now in (before, after)}

    def worth(offset: float, now: Snapshot) -> float:
        won = int((by_hand[id(now)] < offset).sum()) / (4 * len(now))
        kept = (now.logits.double() + offset * ~now.seen).argmax(dim=1) == now.labels
        return float(4 / 7 * kept.double().mean() + 3 / 7 * won)

    start = chosen.details["start"]
    value = worth(chosen.offset + start, after)
    assert chosen.details == {"expected": pytest.approx(value, abs=2e-3), "start": start}
    assert value >= max(worth(float(x), after) for x in np.arange(-3, 9, 0.25)) - 0.02
    assert start != 0 and worth(start, before) >= max(worth(float(x), before) for x in np.arange(-3, 3, 0.25)) - 0.02
    told = f"with it {chosen.details['expected']:.1%} of all rows are right by estimate, seen ones and stand-ins for"
    assert chosen.reason == f"{told} absent ones"
    assert chosen.evidence == {"seen": len(after), "before": len(before)} and chosen.guarantee is None


def test_a_twin_level_with_an_absent_rival_is_not_won() -> None:
    seen = torch.tensor([True, True, False])
    for own, count in ((2.0, 0), (2.5, 4)):
        rows = Snapshot(torch.tensor([[own, 1.0, 2.0]]), torch.tensor([0]), seen)
        assert len(estimated(rows, rows).won) == count


def test_rows_of_a_class_that_the_pretrained_model_lacks_have_no_twin() -> None:
    after = toys.snapshot(n=90, c=7).seen_rows()
    kept = after.labels != 4
    whole = toys.snapshot(n=90, c=7, sunk=0.0).seen_rows()
    classes = after.classes
    before = replace(whole, logits=whole.logits - 50.0 * (torch.arange(7) == 4), lacks=(classes[4],))
    made, of_others = estimated(before, after), estimated(whole.rows(kept), after.rows(kept))
    assert torch.equal(made.won, of_others.won)
    assert (made.num_seen, made.num_absent) == (len(after), 4 * int(kept.sum()))
    estimated(replace(before, lacks=(classes[4], classes[2])), after)
    with pytest.raises(BadInput, match="needs two seen classes"):
        estimated(replace(before, lacks=(classes[4], classes[2], classes[0])), after)
