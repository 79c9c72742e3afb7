"""A classifier: a network, what its outputs mean, how its inputs are made, and where its head is."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reclaim.calibration.protocol import Calibrator
from reclaim.checkpoint import Container
from reclaim.core.affine import Affine
from reclaim.core.checks import check_classes, check_same_classes
from reclaim.core.errors import BadInput, few
from reclaim.data.inputs.image import Preprocess
from reclaim.weights import Weights

__all__ = ["Classifier", "ends_with_head", "find_head", "first_channels", "fold", "logits_of"]


@dataclass(frozen=True)
class Classifier:
    """A network that classifies.

    Attributes:
        module: the network; its answers are logits [B, C].
        head: the dotted name of its last linear layer (or 1x1 convolution), one output per class.
        classes: the name of each output; empty until `bind` settles which naming applies.
        namings: the ways its outputs may be named, most likely first; empty if nothing is known.
        preprocess: what it expects of its inputs.
        library, name: how `reclaim.models` makes such a network.
        seen: the classes it was fine-tuned on, where that is known.
        container: the file format it came in.
    """

    module: nn.Module
    head: str
    classes: tuple[str, ...] = ()
    namings: tuple[tuple[str, ...], ...] = ()
    preprocess: Preprocess = Preprocess()
    library: str = "plain"
    name: str = ""
    seen: tuple[str, ...] | None = None
    container: Container = Container()

    @property
    def last_layer(self) -> nn.Linear | nn.Conv2d:
        """The head itself."""
        layer = self.module.get_submodule(self.head)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        return layer

    @property
    def num_outputs(self) -> int:
        return len(self.last_layer.weight)

    @property
    def num_features(self) -> int:
        return self.last_layer.weight.shape[1]

    @property
    def weights(self) -> Weights:
        """The state dict; its tensors are the network's own."""
        return self.module.state_dict()

    def copy(self) -> Classifier:
        """The same classifier with weights of its own."""
        return replace(self, module=copy.deepcopy(self.module))

    def with_weights(self, theta: Mapping[str, Tensor]) -> Classifier:
        """The same classifier with other weights; a bias the head lacks is added if `theta` has one."""
        other = self.copy()
        if f"{self.head}.bias" in theta and other.last_layer.bias is None:
            other.last_layer.bias = nn.Parameter(torch.zeros(self.num_outputs))
        other.module.load_state_dict(theta)
        return other

    def bind(self, names: Sequence[str]) -> Classifier:
        """Settle the classes, given the names that must be among them.

        Raises: BadInput if no naming of the outputs has them all.
        """
        names = check_classes(names)
        for naming in (self.classes,) if self.classes else self.namings:
            if set(names) <= set(naming):
                return replace(self, classes=naming)
        if not self.classes and not self.namings:
            if len(names) == self.num_outputs:
                return replace(self, classes=names)
            raise BadInput(
                f"the data have {len(names)} classes ({few(names)}), but the model {self.name!r} answers "
                f"{self.num_outputs} that have no names.\n  Name them, one per line, in a file: --classes FILE."
            )
        known = self.classes or self.namings[0]
        missing = [name for name in names if name not in set(known)]
        raise BadInput(
            f"{len(missing)} of the {len(names)} classes of the data are not among the model's: {few(missing)}.\n"
            f"  The model {self.name!r} has {len(known)} classes: {few(known)}.\n"
            "  Rename the class folders, or name the model's outputs, one per line, in a file: --classes FILE."
        )

    def columns(self, names: Iterable[str]) -> Tensor:
        """The outputs of the classes `names`, as indices."""
        where = {name: column for column, name in enumerate(self.classes)}
        return torch.tensor([where[name] for name in names], dtype=torch.int64)

    def reordered(self, classes: Sequence[str]) -> Classifier:
        """The same classifier with its outputs in the order of `classes`.

        Raises: BadInput if a class is in one of the two lists only.
        """
        check_same_classes(self.classes, classes)
        if self.classes == tuple(classes):
            return self
        order = self.columns(classes)
        theta = self.weights
        for name in (f"{self.head}.weight", f"{self.head}.bias"):
            if name in theta:
                theta[name] = theta[name][order.to(theta[name].device)]
        return replace(self.with_weights(theta), classes=tuple(classes))


def find_head(module: nn.Module) -> str:
    """The dotted name of the last linear layer or 1x1 convolution.

    Raises: BadInput if there is none.
    """
    heads = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))
    ]
    if not heads or not heads[-1]:
        raise BadInput(f"{type(module).__name__} has no linear last layer inside, so it has no head to repair.")
    return heads[-1]


def first_channels(module: nn.Module) -> int | None:
    """Channels that the first convolution takes; None without one, or if they are not those of an image."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3) else None


@torch.no_grad()
def fold(model: Classifier, calibrator: Calibrator) -> Classifier:
    """Fold an affine calibrator into the head; a copy, the given model stays as it is.

    The logits change by exactly this map if the head's outputs are the logits (`ends_with_head`). Where the network
    goes on after its head (SqueezeNet: a ReLU, then an average), the map acts before that instead.

    Raises: BadInput if the calibrator is not affine.
    """
    if not hasattr(calibrator, "affine"):
        raise BadInput(f"{type(calibrator).__name__} is not affine, so it cannot be folded into a layer.")
    affine: Affine = calibrator.affine(model.classes)
    folded = model.copy()
    layer = folded.last_layer
    scale, shift = affine.scale.to(layer.weight), affine.shift.to(layer.weight)
    bias = torch.zeros_like(shift) if layer.bias is None else layer.bias
    flat = layer.weight.flatten(1)
    layer.weight.copy_((scale[:, None] * flat if scale.ndim == 1 else scale @ flat).view_as(layer.weight))
    layer.bias = nn.Parameter((scale * bias if scale.ndim == 1 else scale @ bias) + shift)
    return folded


@torch.inference_mode()
def ends_with_head(model: Classifier, x: Tensor) -> bool:
    """Whether the logits for inputs x [B, …] are the head's own outputs."""
    caught: list[Tensor] = []
    hook = model.last_layer.register_forward_hook(lambda _, inputs, output: caught.append(output))
    was_training = model.module.training
    try:
        z = logits_of(model.module.eval(), x.to(model.last_layer.weight.device))
    finally:
        hook.remove()
        model.module.train(was_training)
    return caught[-1].shape == z.shape and torch.equal(caught[-1], z)


def logits_of(module: nn.Module, x: Tensor) -> Tensor:
    """The logits [B, C] for inputs x [B, …], or an error that shows what the network was given."""
    try:
        z = module(x)
    except RuntimeError as error:
        raise BadInput(
            f"the network cannot take inputs of shape {list(x.shape[1:])}: {str(error).splitlines()[0]}\n"
            "  Say how inputs are prepared: --image-size, --mean, --std."
        ) from error
    if not isinstance(z, Tensor) or z.ndim != 2:
        given = list(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise BadInput(f"a classifier answers logits [rows, classes]; this network answers {given}.")
    return z
