"""The digits that a fine-tuning left out: what must be so whatever the numbers are."""

from reclaim.papers.published.digits_left_out import one_seed


def test_no_offset_changes_who_wins_among_absent_classes_and_none_beats_the_ceiling() -> None:
    rows = one_seed(3, epochs=(4, 4))
    after, ceiling = rows["fine-tuned"], rows["+ best offset (ceiling)"]
    offsets = {name: row for name, row in rows.items() if name.startswith("+")}
    assert len(offsets) == 8
    for row in offsets.values():
        assert row[3] == after[3]
        assert row[0] <= ceiling[0]
    budgets = [rows[f"+ budget {share}%"] for share in (5, 10, 20)]
    assert [row[1] for row in budgets] == sorted((row[1] for row in budgets), reverse=True)
