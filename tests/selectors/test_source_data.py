"""Source data: the best offset on the pretraining domain, and nothing else."""

import pytest

from reclaim.selectors import Evidence
from reclaim.selectors.labelled import labelled
from reclaim.selectors.source_data import source_data
from tests.selectors.shared import EVIDENCE


@pytest.mark.parametrize("criterion", ["overall", "balanced", "harmonic"])
def test_it_is_the_labelled_selector_on_source_rows(criterion: str) -> None:
    expected = labelled(Evidence(labelled=EVIDENCE.source), criterion=criterion).offset
    assert source_data(Evidence(source=EVIDENCE.source), criterion=criterion).offset == expected
