"""Our own networks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reclaim.models.networks import digits_cnn, resnet20, resnet32


def test_sizes_are_the_published_ones() -> None:
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    assert round(count(resnet20()) / 1e6, 2) == 0.27 and round(count(resnet32()) / 1e6, 2) == 0.46
    assert resnet20(7)(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert digits_cnn(4)(torch.randn(2, 1, 8, 8)).shape == (2, 4)


@pytest.mark.real
@pytest.mark.parametrize(("make", "name"), [(resnet20, "resnet20_cifar10"), (resnet32, "resnet32_cifar10")])
def test_public_weights_fit_by_name(real_data: Path, make: type, name: str) -> None:
    make().load_state_dict(load_file(real_data / "weights" / f"{name}.safetensors"), strict=False)
    missing, unexpected = make().load_state_dict(load_file(real_data / "weights" / f"{name}.safetensors"), strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
