"""A calibrator finds its classes among others by name: permuted, more, fewer, without names."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from reclaim.bridges.modules import as_module
from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.isotonic import Isotonic
from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.calibrators.matrix import Matrix
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.calibrators.vector import Vector
from reclaim.calibration.evidence import Evidence
from reclaim.calibration.protocol import as_affine
from reclaim.core.checks import check_same_classes
from reclaim.core.errors import BadInput
from reclaim.core.joining import by_name
from reclaim.snapshots.snapshot import Snapshot
from tests import toys

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
ORDER = [4, 2, 6, 0, 1, 5, 3]
ROWS = toys.snapshot(400, classes=NAMES)
OTHER = tuple(NAMES[i] for i in ORDER)
FITS = {kind.__name__: kind.fit(ROWS.seen_rows()) for kind in (Temperature, Vector, Matrix, Isotonic)}
FITS["LogitOffset"] = LogitOffset.fit(ROWS.seen_rows())
FITS["Chain"] = Chain((FITS["Isotonic"], FITS["LogitOffset"]))


def numpy_of(z: torch.Tensor) -> np.ndarray:
    return z.numpy()


@pytest.mark.parametrize("name", FITS)
def test_columns_in_another_order_get_what_their_class_gets(name: str) -> None:
    """Expected: the map of the columns in its own order, put into the other order by numpy."""
    fitted, z = FITS[name], ROWS.logits
    expected = numpy_of(fitted(z))[:, ORDER]
    shuffled = Snapshot(z[:, ORDER], None, ROWS.seen[ORDER], classes=OTHER)
    np.testing.assert_array_equal(numpy_of(shuffled.through(fitted).logits), expected)
    np.testing.assert_array_equal(by_name(fitted, OTHER)(z[:, ORDER].numpy()), expected)
    np.testing.assert_allclose(numpy_of(as_module(fitted, OTHER)(z[:, ORDER])), expected, atol=1e-4)
    if (affine := as_affine(fitted, OTHER)) is not None:
        np.testing.assert_allclose(numpy_of(affine(z[:, ORDER])), expected, atol=1e-4)


def test_an_offset_lifts_the_absent_classes_by_name() -> None:
    """Expected: γ on the columns that carry the names of absent classes, in numpy."""
    offset = FITS["LogitOffset"]
    absent = {name for name, seen in zip(NAMES, ROWS.seen.tolist(), strict=True) if not seen}
    z = ROWS.logits[:, ORDER].numpy()
    expected = z + np.float32(offset.offset) * np.array([name in absent for name in OTHER], np.float32)
    made = Snapshot(ROWS.logits[:, ORDER], None, ROWS.seen[ORDER], classes=OTHER).through(offset).logits
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-6)


def test_steps_of_a_chain_that_were_fitted_in_other_orders_are_joined_by_name() -> None:
    shuffled = ROWS.reordered(OTHER)
    second = Vector.fit(shuffled.seen_rows().through(FITS["Temperature"]))
    assert second.fitted.classes == OTHER
    chain = Chain((FITS["Temperature"], second))
    z = ROWS.logits
    expected = numpy_of(second(FITS["Temperature"](z)[:, ORDER]))[:, np.argsort(ORDER)]
    np.testing.assert_allclose(numpy_of(chain(z)), expected, atol=1e-5)
    affine = as_affine(chain)
    assert affine is not None
    np.testing.assert_allclose(numpy_of(affine(z)), expected, atol=1e-4)


def test_classes_that_an_affine_calibrator_does_not_know_are_absent_ones_and_others_are_refused() -> None:
    names = (*OTHER, "hen")
    z = torch.cat([ROWS.logits[:, ORDER], torch.full((len(ROWS), 1), -1.0)], dim=1)
    more = Snapshot(z, None, torch.cat([ROWS.seen[ORDER], torch.tensor([False])]), classes=names)
    offset = FITS["LogitOffset"]
    np.testing.assert_allclose(more.through(offset).logits[:, -1].numpy(), offset.offset - 1, rtol=1e-5)
    with pytest.raises(
        BadInput, match=r"model's 8 are others.\n  only the calibrator has: none\n  it does not know: hen"
    ):
        more.through(FITS["Isotonic"])
    with pytest.raises(BadInput, match="seen classes are not all among the model's: ant"):
        Snapshot(ROWS.logits, None, ROWS.seen, classes=("hen", *NAMES[1:])).through(FITS["Vector"])
    for fitted in (FITS["Vector"], offset):
        with pytest.raises(BadInput, match=r"'ant' and 'Ant' \(upper and lower case\)"):
            Snapshot(ROWS.logits, None, ROWS.seen, classes=("Ant", *NAMES[1:])).through(fitted)


def test_columns_without_names_go_by_position_where_they_are_equally_many_and_it_is_said(caplog) -> None:
    plain = Snapshot(ROWS.logits, None, ROWS.seen)
    nameless = Temperature.fit(ROWS.seen_rows().logits, ROWS.seen_rows().labels, ROWS.seen)
    with caplog.at_level(logging.WARNING):
        made = plain.through(FITS["Vector"])
        assert caplog.messages == [
            "the columns that the calibrator is applied to have no names, so that columns are taken in their order: "
            "ant, bee, cat, dog, elk, … (7 in all)."
        ]
        ROWS.through(nameless)
        assert caplog.messages[1].startswith("the calibrator's classes have no names")
        plain.through(nameless)
        ROWS.through(FITS["Vector"])
        assert len(caplog.messages) == 2
    np.testing.assert_array_equal(numpy_of(made.logits), numpy_of(FITS["Vector"](ROWS.logits)))
    with pytest.raises(BadInput, match="for 7 classes, and here are 3; these have no names"):
        Snapshot(ROWS.logits[:, :3], None, ROWS.seen[:3]).through(FITS["Vector"])


def test_digits_are_names_where_both_sides_have_them_in_other_orders() -> None:
    digits = tuple(str(i) for i in range(7))
    fitted = LogitOffset.fit(replace(ROWS, classes=digits).seen_rows())
    turned = Snapshot(ROWS.logits.flip(1), None, ROWS.seen.flip(0), classes=digits[::-1])
    np.testing.assert_array_equal(numpy_of(turned.through(fitted).logits), numpy_of(fitted(ROWS.logits))[:, ::-1])


def test_classes_that_a_calibrator_does_not_know_beside_some_that_are_gone_are_said(caplog) -> None:
    fitted = FITS["Temperature"]
    absent = NAMES[ROWS.seen.tolist().index(False)]
    with caplog.at_level(logging.WARNING):
        ROWS.through(fitted)
        replace(ROWS, classes=tuple("hen" if name == absent else name for name in NAMES)).through(fitted)
    assert [m for m in caplog.messages if "taken for" in m] == [
        f"the calibrator knows {absent}, which are not here; what it does not know is taken for absent classes: hen."
    ]


@pytest.mark.parametrize("name", FITS)
def test_an_absent_class_in_another_form_of_unicode_is_refused(name: str) -> None:
    absent = ROWS.seen.tolist().index(False)
    composed, apart = ([*NAMES[:absent], form, *NAMES[absent + 1 :]] for form in ("caf\u00e9", "cafe\u0301"))
    rows = replace(ROWS, classes=tuple(composed))
    fitted = type(FITS[name]).fit(rows.seen_rows()) if name != "Chain" else Chain((Temperature.fit(rows.seen_rows()),))
    with pytest.raises(BadInput, match=r"Alike to the eye.*the form of Unicode"):
        replace(ROWS, classes=tuple(apart)).through(fitted)


def test_another_model_or_other_seen_classes_are_said(caplog) -> None:
    mine = replace(ROWS, model_identity="a1")
    fitted = Temperature.fit(mine.seen_rows())
    with caplog.at_level(logging.WARNING):
        mine.through(fitted)
        ROWS.through(fitted)  # a model that is not known may be the same
        assert not caplog.messages
        replace(ROWS, model_identity="b2").through(fitted)
        assert caplog.messages == [
            "the calibrator was fitted to the answers of another model (weights a1) than this one (b2)."
        ]
        replace(mine, seen=~ROWS.seen).through(fitted)
        assert "other classes as seen" in caplog.messages[1]
        replace(mine, seen=torch.ones(7, dtype=torch.bool)).through(fitted)
        assert len(caplog.messages) == 2


def test_evidence_is_brought_into_one_order_and_that_of_another_model_is_said(caplog) -> None:
    mine, moved = replace(ROWS, model_identity="a1"), replace(ROWS.reordered(OTHER), model_identity="a1")
    straight = LogitOffset.select(Evidence(seen=mine.seen_rows(), labelled=mine), "labelled")
    with caplog.at_level(logging.WARNING):
        turned = LogitOffset.select(Evidence(seen=mine.seen_rows(), labelled=moved), "labelled")
        assert turned.offset == straight.offset and not caplog.messages
        Evidence(seen=mine, labelled=replace(moved, model_identity="b2"))
        assert caplog.messages == ["the evidence labelled is answered by another model than the rows to repair."]
    with pytest.raises(BadInput, match=r"other classes than the rest: Ant, ant.\n.*'Ant' and 'ant' \(upper and lower"):
        Evidence(seen=mine, unlabelled=replace(ROWS, classes=("Ant", *NAMES[1:])))


def test_the_nearest_names_are_shown_where_classes_do_not_match(caplog) -> None:
    """Also between the data and a model, and of two models: `elk` is written `elks`."""
    theirs, close = tuple("elks" if name == "elk" else name for name in NAMES), "\n  Closest: 'elk' and 'elks'."
    absent = theirs if not ROWS.seen[4] else tuple("foxes" if name == "fox" else name for name in NAMES)
    with pytest.raises(BadInput, match="not affine") as error:
        by_name(FITS["Isotonic"], theirs)
    assert f"it does not know: elks{close}\n  Fit it" in str(error.value)
    by_name(FITS["Temperature"], absent)
    assert "\n  Closest: " in caplog.records[-1].getMessage()
    with pytest.raises(BadInput, match="different classes") as error:
        check_same_classes(NAMES, theirs)
    assert str(error.value).endswith(close)
