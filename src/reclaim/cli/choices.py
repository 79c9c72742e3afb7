"""Flags of a repair's choices and of all ways to an offset, and the `Choices` that they stand for."""

from dataclasses import asdict, dataclass, fields
from functools import cache
from inspect import Parameter as Argument
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal, get_type_hints

from cyclopts import Parameter

from reclaim import repairs
from reclaim.cli.method_flags import flag, given_numbers, selector_numbers
from reclaim.core.registry import Method, arguments_of, describe_file
from reclaim.repairs.choices import BY_RETRAINING, FORMERLY, Choices

__all__ = ["Adapters", "More", "by_retraining", "choice_flags", "choices_given"]

OWN = [field for field in fields(Choices) if field.name != "numbers"]  # which are flags of their own


@Parameter(name="*")
@dataclass(frozen=True)
class More:
    """More evidence than held-out rows of seen classes.

    Attributes:
        unlabelled: more evidence: data of the target domain whose labels are not read.
        source: more evidence: labelled data of all classes from the pretraining domain.
        labelled: more evidence: labelled data of all classes from the target domain. Also snapshots each of these is
            two of them, BEFORE,AFTER.
    """

    unlabelled: str | None = None
    source: str | None = None
    labelled: str | None = None

    @property
    def places(self) -> dict[str, str]:
        """Those that were given."""
        return {kind: place for kind, place in asdict(self).items() if place is not None}


@Parameter(name="*")
@dataclass(frozen=True)
class Adapters:
    """What becomes of an adapter.

    Attributes:
        result: whether an adapter becomes an adapter again, its default if it can be scaled, or is merged.
        initial: the folder of the adapter as it was before training, where its beginning changed the base (PiSSA).
    """

    result: Literal["adapter", "merged"] | None = None
    initial: Path | None = None


@cache
def by_retraining() -> Method:
    """Pseudo cross-validation, as its file tells it."""
    return describe_file(Path(repairs.__path__[0]) / f"{BY_RETRAINING.replace('-', '_')}.py")


def choice_flags() -> dict[str, Argument]:
    """The fields of `Choices`, and the numbers of every selector and of pseudo cross-validation."""
    about, kinds = arguments_of(getdoc(Choices) or "", "Attributes"), get_type_hints(Choices, include_extras=True)
    flags = {}
    for field in OWN:
        argument = Argument(field.name, Argument.KEYWORD_ONLY, default=field.default, annotation=kinds[field.name])
        flags[field.name] = flag(argument, about[field.name], FORMERLY.get(field.name))
    return flags | selector_numbers(by_retraining())


def choices_given(flags: dict[str, Any]) -> Choices:
    """The choices that the flags of `choice_flags` stand for.

    Raises: BadInput for a number that the selector does not take.
    """
    own = {field.name: flags[field.name] for field in OWN if field.name in flags}
    numbers = {name: value for name, value in flags.items() if name not in own}
    select = own.get("select", Choices.select)
    takes = by_retraining().numbers if select == BY_RETRAINING else None
    return Choices(**own, numbers=given_numbers(select, numbers, takes))
