"""The weights of the best epoch so far, kept beside those that go on training."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

__all__ = ["Kept"]

FILE = "best.safetensors"


class Kept:
    """Weights of a network as they were, on the CPU: none, until some are taken."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def take(self, net: nn.Module) -> None:
        """Keep the weights that the network has now."""
        self.weights = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in _tensors(net)}

    @torch.no_grad()
    def put(self, net: nn.Module) -> None:
        """Give the network the weights that were kept, if there are any."""
        for name, tensor in _tensors(net):
            if name in self.weights:
                tensor.copy_(self.weights[name])

    def save(self, folder: Path) -> None:
        """Write them into the folder of a state."""
        if self.weights:
            save_file(self.weights, folder / FILE)

    def load(self, folder: Path) -> None:
        """Read them from the folder of a state."""
        self.weights = load_file(folder / FILE) if (folder / FILE).is_file() else {}


def _tensors(net: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers that are saved; not what a layer keeps beside them in a form of its own."""
    return [(name, value) for name, value in net.state_dict().items() if isinstance(value, Tensor)]
