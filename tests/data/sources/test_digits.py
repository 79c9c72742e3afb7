"""Digits: four parts that share no image, and a shift that is described."""

import numpy as np
import pytest
import torch

from reclaim.data.sources.digits import digits, shifted


def test_the_parts_share_no_image_and_make_up_the_whole() -> None:
    source, target = digits(seed=3), digits("digits-shifted", seed=3)
    names = [split.name(i) for data in (source, target) for key, split in data.splits.items()
             if (key, data) != ("test", source) for i in range(len(split))]  # fmt: skip
    assert len(names) == len(set(names))
    assert len(source.split("train")) == 600 and len(target.split("val")) == 450 and len(target.split("test")) == 447


def test_training_rows_are_of_the_five_seen_digits_and_the_others_of_all_ten() -> None:
    target = digits("digits-shifted", seed=3)
    assert int(target.seen.sum()) == 5 and bool(target.seen[target.split("train").labels].all())
    assert len(target.split("test").labels.unique()) == 10


def test_a_seed_decides_everything() -> None:
    a, b, c = (digits("digits-shifted", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.split("val").read(7), b.split("val").read(7)) and torch.equal(a.seen, b.seen)
    assert not np.array_equal(a.split("val").read(7), c.split("val").read(7))


def test_the_shift_fades_the_ink_lights_the_paper_and_adds_noise() -> None:
    random = np.random.default_rng(0)
    blank, ink = shifted(np.zeros((4000, 8, 8), np.float32), random), shifted(np.ones((4000, 8, 8), np.float32), random)
    assert blank.mean(axis=(0, 1))[2:6] == pytest.approx(np.linspace(0, 0.9, 8)[2:6], abs=0.01)
    assert (ink - blank).mean(axis=(0, 1))[2:6] == pytest.approx(0.45, abs=0.01)
    assert blank[:, :, 5].std() == pytest.approx(0.1, abs=0.005)
