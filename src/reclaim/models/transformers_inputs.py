"""How transformers makes inputs of images and texts: its processors and tokenizers as makers."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.data.inputs.image import Preprocess
from reclaim.data.inputs.processed import Processed
from reclaim.data.inputs.protocol import Maker
from reclaim.data.inputs.text import Texts, Tokenizer

__all__ = ["files_of", "maker_of", "quiet", "tried"]

log = logging.getLogger(__name__)

OF_IMAGES = ("preprocessor_config.json", "processor_config.json")
OF_TEXTS = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"),
    *("vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "bpe.codes"),
)
UNLIMITED = 10**6  # tokens; what is above is transformers' sign for a tokenizer that names no limit


def maker_of(folder: Path, module: nn.Module, *, images: bool) -> tuple[Maker, Any, bool]:
    """What makes the inputs, an example to try it on, and whether the folder says so."""
    if not images:
        return _texts(folder, module), "a text to try it on", True
    if not any((folder / name).is_file() for name in OF_IMAGES):
        size = _image_size(module)
        log.warning(
            "%s has no preprocessor_config.json: it is guessed that images of %d pixels in [0, 1] are wanted.",
            folder,
            size,
        )
        return Preprocess(channels=3, resize=size, crop=size), _noise(size), False
    return _images(folder), _noise(64), True


def _images(folder: Path) -> Processed:
    auto = require("transformers", extra="transformers").AutoImageProcessor
    with tried(folder, "its image processor"):
        processor = auto.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)

    def process(image: Image.Image) -> Mapping[str, Tensor]:
        made: Tensor = processor(image, return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": made}

    settings = {key: value for key, value in processor.to_dict().items() if value is not None and key[0] != "_"}
    settings.pop("image_processor_type", None)
    said = json.dumps(settings, sort_keys=True, default=str)
    # the form of the processor counts: that on torchvision and that on Pillow differ in the last bit of a pixel
    return Processed(f"{type(processor).__name__} {said}", process, files=_read(folder, OF_IMAGES))


def _texts(folder: Path, module: nn.Module) -> Texts:
    auto = require("transformers", extra="transformers").AutoTokenizer
    files = _read(folder, OF_TEXTS)
    if not files:
        raise BadInput(f"{folder} has no tokenizer: save it beside the model, tokenizer.save_pretrained(…).")
    with tried(folder, "its tokenizer"):
        tokenizer = auto.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    config: Any = module.config
    if tokenizer.pad_token_id is None or config.pad_token_id is None:
        raise BadInput(
            f"{folder} has no token that fills up shorter texts, so that texts cannot be answered in batches.\n"
            "  Set it before saving: tokenizer.pad_token = tokenizer.eos_token, and pad_token_id in the config."
        )
    taken = set(inspect.signature(module.forward).parameters)
    most = min(tokenizer.model_max_length, _positions(module))

    def tokenize(text: str) -> Mapping[str, Sequence[int]]:
        limit = {"truncation": True, "max_length": most} if most < UNLIMITED else {}
        return {name: ids for name, ids in tokenizer(text, **limit).items() if name in taken}

    content = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:12]
    limit = most if most < UNLIMITED else "any"
    says = f"{type(tokenizer).__name__} of {len(tokenizer)} tokens ({content}), at most {limit} a text"
    pad = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    return Texts(Tokenizer(says, tokenize, files), pad=pad, left=tokenizer.padding_side == "left")


def files_of(make: Maker) -> Mapping[str, bytes]:
    """The files of a directory that make a maker again, by their names."""
    if isinstance(make, Processed):
        return make.files
    return make.tokenize.files if isinstance(make, Texts) and isinstance(make.tokenize, Tokenizer) else {}


def _read(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _positions(module: nn.Module) -> int:
    """How many tokens a text may have; where padding has a position of its own, they begin after it."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding) and name.endswith(("position_embeddings", "embed_positions", ".wpe")):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    return UNLIMITED


def _image_size(module: nn.Module) -> int:
    config: Any = module.config
    size = config.to_dict().get("image_size", 224)
    return int(size if isinstance(size, int) else size[0])


def _noise(size: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and warnings, whose state returns."""
    own = require("transformers.utils.logging", extra="transformers")
    level, bars = own.get_verbosity(), own.is_progress_bar_enabled()
    own.set_verbosity_error()
    own.disable_progress_bar()
    try:
        yield
    finally:
        own.set_verbosity(level)
        if bars:
            own.enable_progress_bar()


@contextmanager
def tried(folder: Path, what: str) -> Iterator[None]:
    """What transformers makes of a folder; whatever it trips over there is a fault of the folder."""
    try:
        with quiet():
            yield
    except BadInput:
        raise
    except Exception as error:  # whatever a damaged folder leads the library to
        reason = " ".join((str(error) or type(error).__name__).split())
        code = "trust_remote_code" in reason
        why = "it wants to run code that lies beside it, and Reclaim runs none from there" if code else f"{reason:.300}"
        raise BadInput(f"transformers cannot read {what} in {folder}: {why}.") from error
