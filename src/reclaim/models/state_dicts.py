"""State dicts as trainers leave them: under a key, with a prefix before every name, and often two of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import Tensor

from reclaim.core.errors import BadInput, few
from reclaim.models.weights import Weights

__all__ = [
    "COUNTER",
    "StateDict",
    "Which",
    "chosen",
    "named_like",
    "nearly",
    "say_what_is_beside",
    "say_what_is_left",
    "state_dicts",
]

log = logging.getLogger(__name__)

Which: TypeAlias = Literal["raw", "averaged"]

COUNTER = "n_averaged"  # how many weights torch's AveragedModel has averaged
RAW = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
AVERAGED = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model_state_dict",
    "ema_model",
    "ema",
    "params_ema",
    "swa_state_dict",
    "swa_model",
    "swa",
    "averaged",
    "averaged_model",
    "shadow",
)
WORDS = {"ema", "swa", "averaged", "shadow"}  # a part of a prefix that says so
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
DEPTH = 3  # keys inside each other


@dataclass(frozen=True)
class StateDict:
    """One set of weights in a checkpoint.

    Attributes:
        weights: the tensors by their names, without the prefix.
        nest: the keys under which they lie, with dots between; None for none.
        prefix: what was taken off the names.
        averaged: whether they are the averaged weights.
        counted: how many were averaged, where that is counted.
        left: what lies beside them and is not theirs.
        fits: whether they have all the names of the network that they are for, where these are known.
    """

    weights: Weights
    nest: str | None = None
    prefix: str = ""
    averaged: bool = False
    counted: int | None = None
    left: tuple[str, ...] = ()
    fits: bool = True

    @property
    def place(self) -> str:
        """Where they lie, for a message."""
        words = ([f"under {self.nest!r}"] if self.nest else []) + ([f"behind {self.prefix!r}"] if self.prefix else [])
        return " ".join(words) or "at the top"


def state_dicts(found: Any, path: Path) -> list[StateDict]:
    """The sets of weights of a checkpoint: one, or a raw and an averaged one. Their names are as in the file.

    Raises: BadInput if it holds no tensors.
    """
    sets: list[StateDict] = []
    for averaged in (False, True):
        sets += list(_under(found, AVERAGED if averaged else RAW, averaged))[:1]
    if not any(not one.averaged for one in sets) and (own := _tensors(found, None, averaged=False)) is not None:
        sets.append(own)
    if not sets:
        inside = few(found) if isinstance(found, Mapping) else type(found).__name__
        raise BadInput(f"{path} holds no state dict (names with tensors); it holds: {inside or 'nothing'}.")
    return sets


def _under(found: Any, keys: Sequence[str], averaged: bool, nest: tuple[str, ...] = ()) -> Iterator[StateDict]:
    """State dicts under one of the keys, the first one first; under keys inside each other too."""
    if not isinstance(found, Mapping) or len(nest) >= DEPTH:
        return
    for key in keys:
        inside = found.get(key)
        if isinstance(inside, Mapping):
            place = (*nest, key)
            yield from _under(inside, (*RAW, *AVERAGED) if averaged else RAW, averaged, place)
            if (own := _tensors(inside, ".".join(place), averaged=averaged)) is not None:
                yield own


def _tensors(found: Any, nest: str | None, *, averaged: bool) -> StateDict | None:
    """A mapping of names to tensors; what else it holds, as numbers of a trainer, is left. None where it holds none."""
    if not isinstance(found, Mapping):
        return None
    weights = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    left = tuple(str(name) for name in found if name not in weights)
    counted = None
    if COUNTER in weights and weights[COUNTER].numel() == 1 and len(weights) > 1:
        counted = int(weights.pop(COUNTER))
    if not weights:
        return None
    return StateDict(weights, nest, averaged=averaged or counted is not None, counted=counted, left=left)


def named_like(state: StateDict, like: Collection[str], path: Path) -> list[StateDict]:
    """The set with its names as a network has them: without a prefix, if they then are all there.

    A raw and an averaged set may lie side by side behind two prefixes. Where no prefix makes the names fit, only
    "module." goes, if it is before every name.

    Raises: BadInput if several prefixes make them fit, and nothing tells which is meant.
    """
    names = state.weights
    common = "module." if all(name.startswith("module.") for name in names) else ""
    wanted = [name for name in like if not name.endswith(("num_batches_tracked", "bias"))] or list(like)
    if not wanted:
        return [_without(state, common)]
    longest = max(wanted, key=len)
    ends = {name[: -len(longest)] for name in names if name.endswith(longest)}
    prefixes = [prefix for prefix in sorted(ends) if not prefix or prefix.endswith(".")]
    fitting = [prefix for prefix in prefixes if all(prefix + name in names for name in wanted)]
    kinds: dict[bool, str] = {}
    for prefix in fitting:
        averaged = state.averaged or _says_averaged(prefix)
        if averaged in kinds and "" not in fitting:
            raise BadInput(
                f"{path} holds several sets of weights that fit, behind {kinds[averaged]!r} and {prefix!r}.\n"
                "  Save the one that is meant alone."
            )
        kinds.setdefault(averaged, prefix)
    if not kinds:
        return [replace(_without(state, common), fits=False)]
    return [
        _without(state, prefix, [other for other in kinds.values() if other != prefix]) for prefix in kinds.values()
    ]


def _says_averaged(prefix: str) -> bool:
    return any(word in WORDS for word in prefix.lower().replace(".", "_").split("_"))


def _without(state: StateDict, prefix: str, others: Sequence[str] = ()) -> StateDict:
    """The set behind a prefix, without it; names behind none, or behind one of the `others`, are left."""
    behind = tuple(other for other in others if other)
    own = [name for name in state.weights if name.startswith(prefix) and not (behind and name.startswith(behind))]
    rest = () if others else tuple(name for name in state.weights if name not in set(own))
    return replace(
        state,
        weights={name.removeprefix(prefix): state.weights[name] for name in own},
        prefix=prefix,
        averaged=state.averaged or _says_averaged(prefix),
        left=(*state.left, *rest),
    )


def chosen(sets: Sequence[StateDict], which: Which | None, path: Path) -> StateDict:
    """The set asked for, the averaged one if nothing is asked; of a file that has one only, that one.

    It is said where there was a choice, and where what was asked for is not there: another of a command's models may
    have it.
    """
    kinds = {one.averaged: one for one in reversed(sets)}
    fitting = {averaged for averaged, one in kinds.items() if one.fits} or set(kinds)
    wanted = which == "averaged" if which else True in fitting
    taken = kinds.get(wanted, kinds.get(not wanted))
    assert taken is not None
    if len(kinds) > 1:
        log.warning(
            "%s holds raw weights (%s) and averaged ones (%s): the %s are taken%s, and only they are written again.",
            path,
            kinds[False].place,
            kinds[True].place,
            "averaged" if wanted else "raw",
            "" if kinds[not wanted].fits else ", for the others do not fit",
        )
    elif which and (which == "averaged") != taken.averaged:
        log.warning("%s holds no %s weights; the only ones there are taken (%s).", path, which, taken.place)
    return taken


def say_what_is_left(taken: StateDict, path: Path) -> None:
    """Say in one line what was taken off the names, and what of a mapping is no weight of the network."""
    parts = []
    if taken.prefix:
        parts.append(f"{taken.prefix!r} was taken off the names of the weights")
    if taken.left:
        parts.append(f"left aside: {few(taken.left)}")
    if parts:
        log.warning("%s: %s.", path, "; ".join(parts))


def say_what_is_beside(found: Any, sets: Sequence[StateDict], path: Path) -> None:
    """Say in one line which other parts of a checkpoint hold as many tensors of the same shapes as a set that was read.

    They may be other weights of the same network, under keys that nobody knows. A trainer's optimizer is none of them.
    """
    if not isinstance(found, Mapping):
        return
    known = {(one.nest or "").partition(".")[0] for one in sets}
    shapes = {tuple(sorted(tuple(tensor.shape) for tensor in _inside(one.weights))) for one in sets}
    alike = [
        key
        for key, part in found.items()
        if isinstance(key, str) and key not in known and not key.lower().startswith("opt")
        if tuple(sorted(tuple(tensor.shape) for tensor in _inside(part))) in shapes
    ]
    if alike:
        log.warning(
            "%s: %s may hold other weights of the same network, and are not read: no key says which they are.",
            path,
            few(map(repr, alike)),
        )


def _inside(part: Any, depth: int = DEPTH) -> Iterator[Tensor]:
    """The tensors in mappings and lists, and in those inside them, with one dimension or more."""
    if isinstance(part, Tensor) and part.ndim:
        yield part
    elif isinstance(part, Mapping | list | tuple) and depth:
        for one in part.values() if isinstance(part, Mapping) else part:
            yield from _inside(one, depth - 1)


def nearly(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """A line of a message on names that do not fit, if a known or a common prefix would make some of them fit."""
    prefixes = {name[: -len(end)] for name in unexpected for end in missing if name.endswith(f".{end}")}
    best = max(prefixes, key=lambda p: sum(p + name in set(unexpected) for name in missing), default="")
    if best:
        count = sum(best + name in set(unexpected) for name in missing)
        return f"\n  Without {best!r} {count} of the {len(missing)} missing names would be there, but not all."
    added = next((p for p in WRAPPERS if any(name.removeprefix(p) in set(unexpected) for name in missing)), "")
    return f"\n  The network's own names begin with {added!r}, those in the file do not." if added else ""
