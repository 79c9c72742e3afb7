"""Recorded outputs of real networks, with half to fit on and half to judge on."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

NAMES = ("wrn16_4_c10", "lenet5_c10", "wrn16_4_c100", "lenet5_c100")


def recorded(name: str) -> tuple[Tensor, Tensor]:
    """Log-probabilities [10000, C] and labels [10000] of a CIFAR network."""
    path = Path(os.environ.get("RECLAIM_DATA", "")) / "logits" / "cifar_softmax_netcal.npz"
    if not path.is_file():
        pytest.skip("no recorded outputs: RECLAIM_DATA does not name a folder with logits/cifar_softmax_netcal.npz")
    file = np.load(path, allow_pickle=False)
    p = file[f"{name}_probs"]
    z = torch.from_numpy(np.log(np.clip(p, np.finfo(p.dtype).tiny, None)))
    return z, torch.from_numpy(file[f"{name}_labels"].reshape(-1).astype(np.int64))


def nll(z: Tensor, y: Tensor) -> float:
    """Mean negative log-likelihood."""
    return float(torch.nn.functional.cross_entropy(z.double(), y))


def sampled(n: int = 4000, c: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [N, C] and labels drawn from their softmax: perfectly calibrated."""
    random = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(n, c, generator=random)
    return z, torch.multinomial(z.softmax(dim=1), 1, generator=random).squeeze(1)
