"""WiSE-FT: both ends bit for bit, straight in between."""

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.models.merges.interpolation import interpolation
from tests import toys

THETA_0, THETA_1 = toys.classifier(0).weights, toys.classifier(1).weights


def test_both_ends_are_the_models_themselves() -> None:
    assert toys.same(interpolation(THETA_0, THETA_1, alpha=0.0), THETA_0)
    assert toys.same(interpolation(THETA_0, THETA_1, alpha=1.0), THETA_1)


def test_in_between_it_is_the_weighted_mean() -> None:
    mixed = interpolation(THETA_0, THETA_1, alpha=0.3)
    torch.testing.assert_close(mixed["first.weight"], 0.7 * THETA_0["first.weight"] + 0.3 * THETA_1["first.weight"])


def test_what_is_equal_in_both_stays_equal_bit_for_bit() -> None:
    same = THETA_1 | {"norm.running_mean": THETA_0["norm.running_mean"], "head.weight": THETA_0["head.weight"]}
    for alpha in (0.1, 0.37, 0.9):
        mixed = interpolation(THETA_0, same, alpha=alpha)
        assert torch.equal(mixed["head.weight"], THETA_0["head.weight"])


def test_for_a_linear_model_mixing_weights_is_mixing_outputs() -> None:
    layers = [torch.nn.Linear(3, 5) for _ in range(3)]
    layers[2].load_state_dict(interpolation(layers[0].state_dict(), layers[1].state_dict(), alpha=0.25))
    x = torch.randn(4, 3)
    torch.testing.assert_close(layers[2](x), 0.75 * layers[0](x) + 0.25 * layers[1](x))


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_an_alpha_outside_the_segment_is_refused(alpha: float) -> None:
    with pytest.raises(BadInput, match="between 0 and 1"):
        interpolation(THETA_0, THETA_1, alpha=alpha)
