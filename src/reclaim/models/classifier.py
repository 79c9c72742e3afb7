"""A classifier: a network, what its outputs mean, how its inputs are made, and where its head is."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reclaim.core.checks import check_classes, check_same_classes
from reclaim.core.errors import Argument, BadInput, few, meant
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.processed import Processed
from reclaim.data.inputs.protocol import Inputs, Maker
from reclaim.models.adapters import Adapter
from reclaim.models.checkpoint import Container
from reclaim.models.weights import Weights

__all__ = ["Classifier", "Writer"]

log = logging.getLogger(__name__)

OWN_HEAD = (
    "\n  If it was fine-tuned with a head of its own, for some of the classes, `repair` of it and the pretrained model "
    "joins both."
)


@dataclass(frozen=True)
class Writer:
    """How a library's own directory is written.

    Attributes:
        write: writes a classifier into a folder that exists.
        names: of the weights that the library reads there.
    """

    write: Callable[[Path, Classifier], None]
    names: frozenset[str]


@dataclass(frozen=True)
class Classifier:
    """A network that classifies.

    Attributes:
        module: the network; it answers logits [B, C], or a mapping or a record that has them.
        head: the dotted name of the linear layer (or 1x1 convolution) whose outputs become the logits, one per class.
        classes: the name of each output; empty until `bind` settles which naming applies.
        namings: the ways its outputs may be named, most likely first; empty if nothing is known.
        preprocess: what makes its inputs of examples; a `Preprocess` where they are images.
        library, name: how `reclaim.models` makes such a network.
        seen: the classes it was fine-tuned on, where that is known.
        container: the file format it came in.
        recorded: whether `preprocess` is what a file, a library or the user says, and not only assumed.
        guessed: whether `head` is only the last layer registered, until there are data to trace it with.
        adapter: what was added to the weights of a base, where these weights came so, or are to be written so.
        twins: other heads, where the logits are the mean of the outputs of several: a distilled network's second one.
        writer: writes it as its own library reads it; None where that is weights in a file, and no more.
    """

    module: nn.Module
    head: str
    classes: tuple[str, ...] = ()
    namings: tuple[tuple[str, ...], ...] = ()
    preprocess: Maker = Preprocess()
    library: str = "plain"
    name: str = ""
    seen: tuple[str, ...] | None = None
    container: Container = Container()
    recorded: bool = False
    guessed: bool = False
    adapter: Adapter | None = None
    twins: tuple[str, ...] = ()
    writer: Writer | None = None

    @property
    def last_layer(self) -> nn.Linear | nn.Conv2d:
        """The head itself."""
        return self.last_layers[0]

    @property
    def last_layers(self) -> list[nn.Linear | nn.Conv2d]:
        """The head, and its twins."""
        layers = [self.module.get_submodule(name) for name in (self.head, *self.twins)]
        return [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]

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

    @property
    def images(self) -> Preprocess:
        """How its inputs are made of images; BadInput if they are made of something else."""
        if isinstance(self.preprocess, Preprocess):
            return self.preprocess
        of_library = isinstance(self.preprocess, Processed)
        by = "made by its own library, not by `Preprocess`" if of_library else "not made of images"
        raise BadInput(
            f"the inputs of {self.name!r} are {by}, but by {type(self.preprocess).__name__}: size, mean and standard "
            "deviation of images do not apply."
        )

    def inputs(self, *examples: Any) -> Inputs:
        """What the network takes for these examples, as one batch."""
        return self.preprocess.collate([self.preprocess(example) for example in examples])

    def copy(self) -> Classifier:
        """The same classifier with weights of its own."""
        return replace(self, module=copy.deepcopy(self.module))

    def with_weights(self, theta: Mapping[str, Tensor]) -> Classifier:
        """The same classifier with other weights; a bias the head lacks is added if `theta` has one."""
        return self.copy().filled(theta)

    def filled(self, theta: Mapping[str, Tensor]) -> Classifier:
        """This very classifier, with other weights written into its network; as `with_weights`, but for the copy."""
        if f"{self.head}.bias" in theta and self.last_layer.bias is None:
            self.last_layer.bias = nn.Parameter(self.last_layer.weight.detach().new_zeros(self.num_outputs))
        self.module.load_state_dict(theta)
        return self

    def bind(self, names: Sequence[str]) -> Classifier:
        """Settle the classes, given the names that must be among them.

        Where the outputs have no names it is guessed that they are these, in their order, and said.

        Raises: BadInput if no naming of the outputs has them all.
        """
        names = check_classes(names)
        for naming in (self.classes,) if self.classes else self.namings:
            if set(names) <= set(naming):
                return replace(self, classes=naming)
        if not self.classes and not self.namings:
            if len(names) == self.num_outputs:
                log.warning(
                    "the outputs of the model %r have no names: it is guessed that they are the %d classes of the data "
                    "in their order, %s; name them with the argument `classes`.",
                    self.name,
                    len(names),
                    few(names),
                )
                return replace(self, classes=names)
            raise BadInput(
                f"the data have {len(names)} classes ({few(names)}), but the model {self.name!r} answers "
                f"{self.num_outputs} that have no names.",
                Argument("classes", "name them, in order"),
            )
        known = self.classes or self.namings[0]
        missing = [name for name in names if name not in set(known)]
        own = "" if len(missing) == len(names) else OWN_HEAD
        raise BadInput(
            f"{len(missing)} of the {len(names)} classes of the data are not among the model's: {few(missing)}.\n"
            f"  The model {self.name!r} has {len(known)} classes: {few(known)}.{meant(missing, known)}{own}",
            Argument("classes", "rename the class folders, or name the model's outputs, in order"),
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
        for name in (f"{head}.{part}" for head in (self.head, *self.twins) for part in ("weight", "bias")):
            if name in theta:
                theta[name] = theta[name][order.to(theta[name].device)]
        return replace(self.with_weights(theta), classes=tuple(classes))
