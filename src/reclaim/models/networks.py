"""Small networks of our own: for the demo, and for published CIFAR weights that no library defines."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad, relu

__all__ = ["FACTORIES", "CifarResNet", "digits_cnn", "resnet20", "resnet32"]


class CifarResNet(nn.Module):
    """A residual network for 32-pixel images, with shortcuts that have no parameters.

    The names of its weights are those of the common public checkpoints (``layer1.0.conv1.weight``, …, ``linear.bias``).

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2 (option A).
    """

    def __init__(self, blocks: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks)
        self.layer2 = _stage(16, 32, blocks)
        self.layer3 = _stage(32, 64, blocks)
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.extra:  # every second pixel, and as many zero channels before as after
            x = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra // 2, self.extra // 2))
        return relu(x + y)


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride=1 if inputs == outputs else 2)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def resnet20(num_classes: int = 10) -> nn.Module:
    """The 20-layer network for CIFAR."""
    return CifarResNet(3, num_classes)


def resnet32(num_classes: int = 10) -> nn.Module:
    """The 32-layer network for CIFAR."""
    return CifarResNet(5, num_classes)


def digits_cnn(num_classes: int = 10) -> nn.Module:
    """A small convolutional network for scikit-learn's 8x8 digits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


FACTORIES = {factory.__name__: factory for factory in (digits_cnn, resnet20, resnet32)}
