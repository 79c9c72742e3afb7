"""transformers' classifiers of images and of texts."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from reclaim.core.errors import Argument, BadInput, few
from reclaim.core.extras import require
from reclaim.core.hub import from_hub
from reclaim.core.records import read_json
from reclaim.data.classes.imagenet import imagenet_ids
from reclaim.models.checkpoint import Container
from reclaim.models.classifier import Classifier, Writer
from reclaim.models.loading import shown
from reclaim.models.state_dicts import Which
from reclaim.models.transformers_inputs import files_of, maker_of, quiet, tried

__all__ = ["transformers"]

log = logging.getLogger(__name__)

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model")
TASKS = {  # how the names of other networks end, and what these are
    "ForObjectDetection": "a detector",
    "ForCausalLM": "a causal language model",
    "LMHeadModel": "a causal language model",
    "ForConditionalGeneration": "a model that writes text",
    "ForMaskedLM": "a masked language model",
    "ForTokenClassification": "a model that labels each token",
    "ForQuestionAnswering": "a model that marks answers in a text",
    "ForMultipleChoice": "a model that chooses among several texts",
    "Segmentation": "a model that labels each pixel",
    "ForAudioClassification": "a classifier of sound, and images and texts are what is classified here",
    "ForVideoClassification": "a classifier of videos, and images and texts are what is classified here",
    "Model": "a network without a head: it answers features, no classes",
}
PROBLEMS = {
    "multi_label_classification": "a model that answers several labels at once",
    "regression": "a model that answers a number",
}


def transformers(
    name: str, checkpoint: Path | None = None, head: str | None = None, weights: Which | None = None
) -> Classifier:
    """A classifier of images or texts: a directory that `save_pretrained` wrote, or a name on the hub.

    Images go through its own processor, texts through its own tokenizer, both of which are written again beside the
    repaired model. Classes have the names of its config; LABEL_0, LABEL_1 and so on are none. No code that lies beside
    a model is run.

    Source: transformers.AutoModelForImageClassification, AutoModelForSequenceClassification.
    """
    require("transformers", extra="transformers")
    if weights is not None:
        log.warning("a directory of transformers holds one set of weights; weights=%r changes nothing.", weights)
    if checkpoint is None:
        local = "a directory that save_pretrained wrote, alone or as transformers/NAME@DIRECTORY"
        folder = from_hub(name, PATTERNS, "transformers", local)
    elif checkpoint.is_dir():
        folder = checkpoint
    else:
        raise BadInput(f"{checkpoint} is no directory; transformers' models are those that save_pretrained wrote.")
    record = read_json(folder / "config.json")
    architecture = _architecture(record, folder)
    config = _config(record, folder)
    module, kind = _network(architecture, config, folder)
    make, example, recorded = maker_of(folder, module, images=_is_of_images(architecture))
    model = shown(module, make, example, head, library="transformers", name=name or architecture)
    named = _labels(config, model.num_outputs, folder)
    ids = (imagenet_ids(),) if model.num_outputs == 1000 else ()
    return replace(
        model,
        classes=() if ids else named,
        namings=(*((named,) if named and ids else ()), *ids),
        recorded=recorded,
        container=Container(dtype=kind),
        writer=Writer(partial(_write, kind), frozenset(model.weights)),
    )


def _architecture(record: Any, folder: Path) -> str:
    """The name of the network's class, if it is one of transformers' own classifiers."""
    file = folder / "config.json"
    found = record.get("architectures") if isinstance(record, dict) else None
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], str):
        raise BadInput(f"{file} does not say what network this is: `architectures` names one, as save_pretrained does.")
    name = found[0]
    if name not in _classifiers("IMAGE") | _classifiers("SEQUENCE"):
        what = next((said for ending, said in TASKS.items() if name.endswith(ending)), "no classifier that is known")
        if record.get("auto_map"):
            raise BadInput(
                f"{folder} wants to run code that lies beside it ({name}), and Reclaim runs none from there."
            )
        raise BadInput(f"{folder} is {what} ({name}); Reclaim repairs classifiers of images and of texts.")
    problem = record.get("problem_type")
    one = record.get("num_labels", len(record.get("id2label") or (0, 1))) == 1
    if problem in PROBLEMS or one:
        said = PROBLEMS[problem if problem in PROBLEMS else "regression"]
        raise BadInput(f"{folder} is {said} ({name}); Reclaim repairs models that choose one class of several.")
    return name


def _classifiers(task: str) -> set[str]:
    """The names of transformers' own classifiers, of a task."""
    module = require("transformers.models.auto.modeling_auto", extra="transformers")
    found = vars(module)[f"MODEL_FOR_{task}_CLASSIFICATION_MAPPING_NAMES"].values()
    return {name for names in found for name in ((names,) if isinstance(names, str) else names)}


def _is_of_images(architecture: str) -> bool:
    return architecture in _classifiers("IMAGE")


def _config(record: Mapping[str, Any], folder: Path) -> Any:
    auto = require("transformers", extra="transformers").AutoConfig
    with tried(folder, "its config"):
        config = auto.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    count, named = record.get("num_labels"), record.get("id2label")
    if isinstance(count, int) and isinstance(named, dict) and len(named) != count:
        log.warning("%s: id2label names %d outputs of %d; the names are left aside.", folder, len(named), count)
        config.num_labels = count
    return config


def _network(architecture: str, config: Any, folder: Path) -> tuple[Any, torch.dtype | None]:
    """The network with its weights in float32, and the half precision that they have in the file, if they do.

    Raises: BadInput if weights are missing, which transformers would make up.
    """
    kind = getattr(require("transformers", extra="transformers"), architecture)
    dtype = config.dtype if isinstance(config.dtype, torch.dtype) else None
    with tried(folder, "its weights"):
        module, found = kind.from_pretrained(
            str(folder), config=config, dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    if missing := sorted(found["missing_keys"]):
        raise BadInput(
            f"{folder} lacks weights of {architecture}: {few(missing)}.\n"
            "  transformers would make up random ones; give the model as it was saved after training."
        )
    if left := sorted(found["unexpected_keys"]):
        log.warning("%s: left aside, for %s has no such weights: %s.", folder, architecture, few(left))
    return module.eval(), dtype if dtype in (torch.float16, torch.bfloat16) else None


def _labels(config: Any, size: int, folder: Path) -> tuple[str, ...]:
    """The names of the outputs; none where they are only numbered."""
    found = [str(config.id2label.get(index, "")) for index in range(size)]
    if found == [f"LABEL_{index}" for index in range(size)]:
        return ()
    if len(set(found)) != size or "" in found:
        log.warning("%s: id2label does not name each of the %d outputs once; it is left aside.", folder, size)
        return ()
    return tuple(found)


def _write(dtype: torch.dtype | None, folder: Path, model: Classifier) -> None:
    """Write what `from_pretrained` reads: config, weights, and the processor or tokenizer as it came."""
    module: Any = model.module if dtype is None else copy.deepcopy(model.module).to(dtype)
    before = module.config
    module.config = copy.deepcopy(before)
    if model.classes:
        module.config.id2label = dict(enumerate(model.classes))
        module.config.label2id = {name: index for index, name in enumerate(model.classes)}
    elif module.config.num_labels != model.num_outputs:
        raise BadInput(
            f"the model answers {model.num_outputs} classes without names.", Argument("classes", "name them")
        )
    try:
        with quiet():
            module.save_pretrained(str(folder))
    finally:
        module.config = before
    for name, content in files_of(model.preprocess).items():
        (folder / name).write_bytes(content)
