"""Source data: the best offset on the pretraining domain, and nothing else."""

import pytest

from reclaim.calibration.evidence import Evidence
from reclaim.calibration.selectors.labelled import labelled
from reclaim.calibration.selectors.source_data import source_data
from tests.calibration.shared import EVIDENCE


@pytest.mark.parametrize("criterion", ["overall", "balanced", "harmonic"])
def test_it_is_the_labelled_selector_on_source_rows(criterion: str) -> None:
    expected = labelled(Evidence(labelled=EVIDENCE.source), criterion=criterion).offset
    assert source_data(Evidence(source=EVIDENCE.source), criterion=criterion).offset == expected
