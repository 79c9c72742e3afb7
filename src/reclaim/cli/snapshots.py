"""``reclaim repair`` of two snapshots: answers instead of models."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reclaim.cli.arrays import Arrays
from reclaim.core.errors import BadInput
from reclaim.repairs.choices import Choices

if TYPE_CHECKING:
    from reclaim.repairs.answers import Pair
    from reclaim.repairs.mixtures import OutputMixture
    from reclaim.repairs.result import Repair

__all__ = ["repair_snapshots", "snapshots_given"]


def snapshots_given(before: str, after: str, of_models: Mapping[str, bool], of_snapshots: Mapping[str, bool]) -> bool:
    """Whether `before` and `after` are two snapshots, and not two models.

    Args:
        of_models, of_snapshots: flags that only the one or the other form takes, and whether they were given.

    Raises: BadInput for one of each, or a flag of the other form.
    """
    first, last = _meant_as_snapshot(before), _meant_as_snapshot(after)
    if first != last:
        snapshot, model = (before, after) if first else (after, before)
        raise BadInput(
            f"{snapshot} is a snapshot, and {model} is not: give two models, or the snapshots of both.\n"
            "  `reclaim predict` writes a model's snapshot."
        )
    wrong = [flag for flag, given in (of_models if first else of_snapshots).items() if given]
    if wrong:
        kinds = ("models", "snapshots") if first else ("snapshots", "models")
        raise BadInput(f"{', '.join(wrong)}: only for {kinds[0]}, but {before} and {after} are {kinds[1]}.")
    return first


def _meant_as_snapshot(spec: str) -> bool:
    """Whether it is one, or has the name of one: a model is never a file alone."""
    from reclaim.snapshots.reading import is_snapshot

    known = (".safetensors", ".npz", ".npy", ".pt", ".csv", ".parquet")
    return ("@" not in spec and (Path(spec).suffix in known or Path(spec).is_file())) or is_snapshot(Path(spec))


def repair_snapshots(
    before: str,
    after: str,
    choices: Choices,
    more: Mapping[str, str],
    report: str | None,
    arrays: Arrays = Arrays(),
    classes: Path | None = None,
) -> "Repair[OutputMixture]":
    """Repair the answers in two snapshots.

    Args:
        more: two snapshots of each kind of further evidence, by its flag.
        report: two of rows to report on.
        arrays, classes: what is told of the first two, and of the others where they do not say their seen classes.
    """
    from reclaim.repairs.answers import repair_answers
    from reclaim.repairs.rows import MoreEvidence

    others = partial(_pair, arrays=replace(arrays, labels=None), classes=classes)
    return repair_answers(
        *arrays.pair(Path(before), Path(after), classes),
        choices,
        evidence=MoreEvidence(**{name: others(f"--{name}", files) for name, files in more.items()}),
        report=None if report is None else others("--report", report),
    )


def _pair(flag: str, files: str, arrays: Arrays, classes: Path | None) -> "Pair":
    """The two snapshots BEFORE,AFTER."""
    names = files.split(",")
    if len(names) != 2:
        raise BadInput(
            f"{flag} takes two snapshots, BEFORE,AFTER, where --before and --after are such; given: {files}."
        )
    first, second = (arrays.open(Path(name), classes, alone=False) for name in names)
    return first, second
