"""What cannot be folded says which step bends."""

import pytest

from reclaim.calibration.calibrators.chain import Chain
from reclaim.calibration.calibrators.isotonic import Isotonic
from reclaim.calibration.calibrators.temperature import Temperature
from reclaim.calibration.folding import affine_to_fold
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from tests import toys

FITTED = Fitted((True,) * 7)


def test_a_chain_inside_a_chain_names_its_own_bent_step() -> None:
    z, y, _ = toys.logits()
    chain = Chain((Chain((Temperature(2.0, FITTED), Isotonic.fit(z, y))), Temperature(0.5, FITTED)))
    with pytest.raises(BadInput, match="Isotonic is not affine, so this chain"):
        affine_to_fold(chain)
    flat = Chain((Chain((Temperature(2.0, FITTED), Temperature(4.0, FITTED))), Temperature(0.5, FITTED)))
    assert float(affine_to_fold(flat).scale[0]) == pytest.approx(1 / 4)


def test_an_unknown_kind_is_refused_by_name() -> None:
    z, y, _ = toys.logits()
    with pytest.raises(BadInput, match="kind must be one of shared, one-vs-rest; given: 'oops'"):
        Isotonic.fit(z, y, kind="oops")  # type: ignore[arg-type]
