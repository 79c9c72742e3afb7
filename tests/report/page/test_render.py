"""The page: self-contained, the same bytes every time, and honest about what is missing."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import torch

from reclaim.repairs.alpha import ChosenAlpha, Tried
from reclaim.report.diagnose import diagnose
from reclaim.report.page.render import render
from tests import toys

BEFORE, AFTER = toys.snapshot(sunk=0.0), toys.snapshot(sunk=4.0)


def page(**more: object) -> str:
    return render({"before": BEFORE, "after": AFTER}, diagnose(BEFORE, AFTER), **more)  # type: ignore[arg-type]


def test_the_same_results_give_the_same_bytes() -> None:
    assert page() == page()


def test_it_names_no_foreign_address_and_runs_no_script() -> None:
    text = page()
    assert not re.search(r"https?://|<script|src=|@import|url\(", text)
    assert len(text) < 100_000


def test_the_numbers_are_there_in_per_cent() -> None:
    from reclaim.report.evaluate import evaluate

    found = evaluate(AFTER).accuracy
    for value in (found.all, found.seen, found.absent, found.absent_among_absent):
        assert f"{100 * value:.1f}" in page()
    assert "lose to a seen class" in page()


def test_damage_comes_first() -> None:
    findings = re.findall(r'class="finding (damaged)?', page())
    assert findings and findings == sorted(findings, reverse=True) and "damaged" in findings


def test_without_absent_rows_it_says_so_and_draws_no_curve() -> None:
    before, after = BEFORE.seen_rows(), AFTER.seen_rows()
    text = render({"before": before, "after": after}, diagnose(before, after))
    assert "the absent accuracy cannot be measured" in text and "polyline" not in text and "None" not in text


TRIED = (Tried(0, 0, 0.5, 0.6, 0.55, False), Tried(0.5, 2, 0.9, 0.5, 0.7, True))
MIX = ChosenAlpha(0.5, "because", TRIED, 20, {"absent": Tried(0.25, 1, 0.7, 0.611, 0.65, True)})


def test_what_was_done_and_tried_is_told() -> None:
    text = page(story=[("Mixing", "half of the way.")], mix=MIX)
    assert "half of the way." in text and "seen at alpha 0.5: 90.0%" in text and "over the budget" in text
    assert "61.1" in text and "by --prefer absent" in text and "it is an estimate" in text


def test_what_labelled_rows_measured_is_not_called_an_estimate() -> None:
    text = page(mix=replace(MIX, estimated=False))
    assert "measured on the labelled rows" in text and "estimate" not in text


def test_names_from_outside_cannot_write_markup() -> None:
    evil = "<script>alert(1)</script>"
    text = render({"before": BEFORE, evil: AFTER}, [], title=evil, story=[(evil, evil)])
    assert "<script" not in text


def test_names_cannot_turn_the_text_around_them() -> None:
    turning = "\u202ecba\u2066"
    page = render({turning: BEFORE, f"{turning}2": AFTER}, diagnose(BEFORE, AFTER), story=[(turning, turning)])
    assert not {"\u202e", "\u2066"} & set(page) and page.count("\\u202ecba\\u2066") >= 4


def test_it_is_well_formed() -> None:
    open_tags: list[str] = []

    class Check(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "link", "br"):
                open_tags.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Check().feed(page(mix=MIX))
    assert not open_tags


def test_large_curves_are_thinned_to_a_small_page() -> None:
    rows = toys.snapshot(n=20_000)
    assert len(render({"after": replace(rows, features=torch.zeros(20_000, 1))}, [])) < 60_000
