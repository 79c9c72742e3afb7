"""The recipe that pseudo cross-validation repeats: the one `reclaim tune` wrote down."""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclaim.core.errors import BadInput, few, within
from reclaim.core.inference import Inference
from reclaim.core.records import read_json, typed
from reclaim.core.registry import describe, find
from reclaim.training.budget import Budget

if TYPE_CHECKING:
    from reclaim.repairs.pseudo_cross_validation import Retrain

__all__ = ["recipe_of"]


def recipe_of(after: str, inference: Inference) -> "Retrain":
    """The recipe that made the model `after`, with its numbers and budget; it runs where `inference` says.

    Raises: BadInput if no ``run.json`` of ``reclaim tune`` lies beside the model's weights.
    """
    places = [Path(place) for place in (after, after.partition("@")[2]) if place]
    path = next((place / "run.json" for place in places if (place / "run.json").is_file()), None)
    record = read_json(path) if path else None
    if not isinstance(record, dict) or not {"recipe", "budget"} <= record.keys():
        what = f"{path} tells of no recipe" if path else f"{after} has no run.json that tells how"
        raise BadInput(
            f"pseudo cross-validation repeats the fine-tuning, and {what}.\n"
            "  Give --after a directory that `reclaim tune` wrote, call repair(…, retrain=…) in Python, or choose the "
            "offset with another --select."
        )
    with within(path):
        recipe = typed(record["recipe"], str, f"{path}, recipe")
        recipe, method = find("recipes", recipe), describe("recipes", recipe)
        numbers = {
            key: typed(value, method.numbers[key].annotation, f"{path}, {key}")
            for key, value in method.renamed(record).items()
            if key in method.numbers
        }
        budget = typed(record["budget"], dict[str, Any], f"{path}, budget")
        if foreign := sorted(budget.keys() - {field.name for field in fields(Budget)}):
            raise BadInput(f"it was written by another version of Reclaim, whose budget has {few(foreign)}.")
        own = {"workers": inference.workers, "device": inference.device}
        made: Budget = typed(budget | own, Budget, f"{path}, budget")
        # retrained on training rows alone, with none held out by which an epoch could be the best
        made = replace(made, keep="last")
    return lambda model, data: recipe(model, data, made, **numbers)
