"""Which columns of a table hold what: said by the user, or guessed from common names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reclaim.core.errors import Argument, BadInput, few

__all__ = ["Columns", "Found", "columns_in"]

_IMAGES: tuple[str, ...] = (
    "image",
    "img",
    "images",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "image_path",
    "img_path",
    "filepath",
    "file_path",
)
_IMAGES += ("path", "file_name", "filename", "file", "image_file", "pixel")
_TEXTS = ("text", "sentence", "content", "utterance", "review", "query", "question", "document", "tweet", "message")
_LABELS = ("label", "labels", "class", "class_name", "category", "target", "intent", "y", "cls", "fine_label")
_PLAIN = ("image", "text", "label")  # what needs no word


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what; None is guessed from common names.

    Attributes:
        image: images, as bytes or paths relative to the table.
        text: texts.
        label: the class of each row.
        group: what belongs together, such as a patient; by default "groups", where there is one.
    """

    image: str | None = None
    text: str | None = None
    label: str | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if self.image is not None and self.text is not None:
            raise BadInput(
                f"an example is an image or a text; given: the columns {self.image!r} and {self.text!r}.",
                Argument("image_column", "give one of the two"),
                Argument("text_column"),
            )


@dataclass(frozen=True)
class Found:
    """The columns of one table.

    Attributes:
        kind: what the examples are.
        example, label: the columns; the label is None where there is none.
        notes: what was guessed.
    """

    kind: Literal["image", "text"]
    example: str
    label: str | None
    notes: tuple[str, ...] = ()


def columns_in(names: Sequence[str], wanted: Columns, where: object, *, labelled: bool = True) -> Found:
    """The columns of examples and labels among `names`.

    Args:
        labelled: whether a label is needed.

    Raises: BadInput if there is no such column, or if it must be said which of two is meant.
    """
    image = _column(names, wanted.image, _IMAGES, where, "image_column") if wanted.text is None else None
    text = _column(names, wanted.text, _TEXTS, where, "text_column") if wanted.image is None else None
    if image is not None and text is not None:
        raise BadInput(
            f"{where} has images ({image!r}) and texts ({text!r}).",
            Argument("image_column", "say which are the examples"),
            Argument("text_column"),
        )
    example = image or text
    if example is None:
        raise BadInput(
            f"{where} has no column of images or texts that is known by its name; it has: {few(names, 20)}.",
            Argument("image_column", "name it"),
            Argument("text_column"),
        )
    label = _column(names, wanted.label, _LABELS, where, "label_column")
    if label is None and labelled:
        raise BadInput(
            f"{where} has no column of labels that is known by its name; it has: {few(names, 20)}.",
            Argument("label_column", "name it"),
        )
    kind: Literal["image", "text"] = "image" if image else "text"
    said = {f"{kind}s": (example, wanted.image or wanted.text), "labels": (label, wanted.label)}
    guessed = {what: name for what, (name, given) in said.items() if name not in (None, given, *_PLAIN)}
    words = " and ".join(f"{what} from {name!r}" for what, name in guessed.items())
    notes = (f"guessed by the names of the columns: {words}",) if words else ()
    return Found(kind, example, label, notes)


def _column(
    names: Sequence[str], wanted: str | None, common: Sequence[str], where: object, argument: str
) -> str | None:
    """The column that is wanted, or the one with the commonest name."""
    if wanted is not None:
        if wanted not in names:
            raise BadInput(
                f"{where} has no column {wanted!r}; it has: {few(names, 20)}.", Argument(argument, "name one")
            )
        return wanted
    plain = {name.casefold(): name for name in reversed(names)}
    return next((plain[name] for name in common if name in plain), None)
