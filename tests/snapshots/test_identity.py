"""Fingerprints of rows: the same whatever their order, columns, type or file, and others for other rows."""

import numpy as np
import pytest
import torch

from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.snapshots.identity import row_identities, shared_rows
from tests import toys

NAMES = tuple("abcdefghij")
Z = torch.from_numpy(np.random.default_rng(0).normal(size=(900, 10)).astype(np.float32))
OWN = row_identities(Z, NAMES)


def test_order_and_type_change_no_fingerprint() -> None:
    random = np.random.default_rng(1)
    rows, columns = random.permutation(900), random.permutation(10)
    assert row_identities(Z[rows][:, columns], [NAMES[i] for i in columns]) == OWN
    assert row_identities(Z.half(), NAMES) == OWN == row_identities(Z.double(), NAMES)
    assert len(OWN) == len(set(OWN)) == 32


@pytest.mark.parametrize("part", [0.4, 0.7, 1.0])
def test_a_part_of_the_rows_is_known_and_other_rows_are_not(part: float) -> None:
    for seed in range(1, 21):
        random = np.random.default_rng(seed)
        z = torch.from_numpy(random.normal(size=(900, 10)).astype(np.float32))
        some = torch.from_numpy(random.permutation(900)[: int(part * 900)])
        assert shared_rows(row_identities(z[some], NAMES), row_identities(z, NAMES))
        assert not shared_rows(row_identities(z[some], NAMES), OWN)


def test_halves_of_one_file_are_not_the_same_rows() -> None:
    assert not shared_rows(row_identities(Z[::2], NAMES), row_identities(Z[1::2], NAMES))


def test_rows_that_are_all_alike_tell_nothing() -> None:
    same = row_identities(torch.zeros(50, 10), NAMES)
    assert len(same) == 1 and not shared_rows(same, same) and not shared_rows((), OWN)


def test_a_calibrator_knows_the_rows_as_the_model_answered_them() -> None:
    rows = toys.snapshot(300)
    first = Temperature.fit(rows.seen_rows())
    second = Temperature.fit(rows.seen_rows().through(first))
    assert first.fitted.row_identities == second.fitted.row_identities == rows.seen_rows().identities()
    assert shared_rows(second.fitted.row_identities, rows.through(first).identities())
