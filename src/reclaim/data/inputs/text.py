"""Texts: from a string to the ids that a network takes, padded within a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from reclaim.core.errors import BadInput, few
from reclaim.data.inputs.protocol import Augment, Inputs

__all__ = ["Texts", "Tokenizer"]


@dataclass(frozen=True)
class Tokenizer:
    """A function that makes ids of a text, and says which it is: two are the same where that is.

    Attributes:
        says: what tells it from others: its kind, the size and a hash of its vocabulary, where it cuts.
        tokenize: from a text to lists of whole numbers by name.
        files: those of a model directory that make it again, by their names.
    """

    says: str
    tokenize: Callable[[str], Mapping[str, Sequence[int]]] = field(compare=False, repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, text: str) -> Mapping[str, Sequence[int]]:
        """The ids of a text."""
        return self.tokenize(text)


@dataclass(frozen=True)
class Texts:
    """Texts through a tokenizer.

    Attributes:
        tokenize: from a text to lists of whole numbers by name, such as ``{"input_ids": [4, 7], …}``; all of one text
            have one length. A tokenizer of transformers is such a function.
        most: tokens that are kept of a text, the first ones; None keeps all. A tokenizer that ends texts with a sign of
            its own truncates better itself.
        pad: what fills the shorter lists of a batch, by name; 0 where nothing is said.
        mask: the name under which 1 says token and 0 says filling; empty for no mask. A mask of the tokenizer is kept.
        left: whether shorter texts are filled in front instead of behind.
    """

    tokenize: Callable[[str], Mapping[str, Sequence[int]]]
    most: int | None = None
    pad: Mapping[str, int] = field(default_factory=dict)
    mask: str = "attention_mask"
    left: bool = False

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise BadInput(f"of a text at least 1 token must be kept; given: most={self.most}.")

    def __call__(
        self, example: str, augment: Augment = "none", random: np.random.Generator | None = None
    ) -> Mapping[str, Tensor]:
        """The ids of one text, [T] int64 each. Nothing is augmented.

        Raises: BadInput for an example that is no text, or a text without a token.
        """
        if not isinstance(example, str):
            raise BadInput(f"a text was expected; the example is {type(example).__name__}.")
        made = {
            name: torch.tensor(list(ids)[: self.most], dtype=torch.int64)
            for name, ids in self.tokenize(example).items()
        }
        lengths = {name: len(ids) for name, ids in made.items()}
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise BadInput(
                f"a tokenizer gives lists of one length, at least 1, by name; it gave {few(lengths.items()) or 'none'} "
                f"for the text {example[:40]!r}."
            )
        if self.mask and self.mask not in made:
            made[self.mask] = torch.ones_like(next(iter(made.values())))
        return made

    def collate(self, inputs: Sequence[Inputs]) -> Inputs:
        """Filled to the longest text of the batch, [B, T] each."""
        texts = [x for x in inputs if isinstance(x, Mapping)]
        longest = max(len(ids) for text in texts for ids in text.values())
        batch: dict[str, Tensor] = {}
        for name in texts[0]:
            rows = torch.full((len(texts), longest), self.pad.get(name, 0), dtype=torch.int64)
            for row, text in zip(rows, texts, strict=True):
                here = slice(longest - len(text[name]), None) if self.left else slice(len(text[name]))
                row[here] = text[name]
            batch[name] = rows
        return batch
