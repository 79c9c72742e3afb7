"""Preprocessing: shapes, channels, and augmentation that a seed decides."""

import numpy as np
import pytest
import torch
from PIL import Image

from reclaim.core.errors import BadInput
from reclaim.data.inputs.image import Preprocess

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("given", [PICTURE, Image.fromarray(PICTURE)])
def test_an_image_is_scaled_to_zero_one_and_normalised(given: object) -> None:
    plain = Preprocess(channels=3)(given)
    assert plain.shape == (3, 20, 30) and torch.equal(
        (plain * 255).round().byte().permute(1, 2, 0), torch.from_numpy(PICTURE)
    )
    normal = Preprocess(channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))(given)
    torch.testing.assert_close(normal[2], (plain[2] - 0.3) / 0.1)


def test_channels_are_converted_where_they_must() -> None:
    assert Preprocess(channels=1)(PICTURE).shape == (1, 20, 30)
    assert Preprocess(channels=3)(PICTURE[:, :, 0]).shape == (3, 20, 30)
    assert Preprocess()(PICTURE[:, :, 0]).shape == (1, 20, 30)


def test_how_transparent_a_file_is_is_no_colour() -> None:
    """A network without a convolution, which takes any number of channels, must not average over it."""
    alpha = np.full((20, 30, 1), 7, dtype=np.uint8)
    clear = Image.fromarray(np.concatenate([PICTURE, alpha], axis=2))
    grey = Image.fromarray(np.concatenate([PICTURE[:, :, :1], alpha], axis=2))
    assert torch.equal(Preprocess()(clear), Preprocess()(PICTURE))
    assert torch.equal(Preprocess()(grey), Preprocess()(PICTURE[:, :, 0]))
    assert Preprocess(channels=4)(clear).shape == (4, 20, 30)
    with pytest.raises(BadInput, match="the network takes 4 channels"):
        Preprocess(channels=4)(Image.fromarray(PICTURE))
    with pytest.raises(BadInput, match="the network takes 4 channels"):
        Preprocess(channels=4)(Image.fromarray(np.full((20, 30), 0.5, dtype=np.float32)))


def test_sizes_go_by_the_shorter_side_and_the_centre() -> None:
    assert Preprocess(channels=3, resize=10)(PICTURE).shape == (3, 10, 15)
    assert Preprocess(channels=3, resize=10, crop=8)(PICTURE).shape == (3, 8, 8)


@pytest.mark.parametrize(
    "array", [np.ones((4, 5), np.float32), np.full((4, 5, 3), 200, np.uint8), np.ones(3, np.int64)]
)
def test_a_tensor_is_the_array_that_it_holds(array: np.ndarray) -> None:
    assert torch.equal(Preprocess()(torch.from_numpy(array)), Preprocess()(array))


def test_arrays_of_floating_point_pass_as_they_are() -> None:
    x = np.arange(3.0)
    assert torch.equal(Preprocess()(x), torch.tensor([0.0, 1.0, 2.0]))
    assert Preprocess(channels=1)(np.zeros((8, 8), dtype=np.float64)).shape == (1, 8, 8)


@pytest.mark.parametrize("augment", ["flip", "crop-flip"])
def test_augmentation_is_random_and_repeatable(augment: str) -> None:
    prepare = Preprocess(channels=3, resize=12, crop=12)
    views = [prepare(PICTURE, augment, np.random.default_rng(seed)) for seed in range(8)]
    again = [prepare(PICTURE, augment, np.random.default_rng(seed)) for seed in range(8)]
    assert all(torch.equal(a, b) for a, b in zip(views, again, strict=True))
    assert 1 < len({tuple(view.flatten().tolist()) for view in views}) <= (2 if augment == "flip" else 8)


def test_flipping_mirrors() -> None:
    prepare = Preprocess(channels=3)
    views = {tuple(prepare(PICTURE, "flip", np.random.default_rng(seed)).flatten().tolist()) for seed in range(8)}
    plain = prepare(PICTURE)
    assert views == {tuple(plain.flatten().tolist()), tuple(plain.flip(2).flatten().tolist())}
