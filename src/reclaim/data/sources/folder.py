"""A folder of class folders, with or without train/, val/ and test/ above them."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from reclaim.core.errors import BadInput, few
from reclaim.data.inputs.image import SUFFIXES, decode
from reclaim.data.records import Data, Split

__all__ = ["folder"]

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def folder(source: str) -> Data:
    """Images in one folder per class, in the manner of torchvision's ImageFolder and ImageNet.

    The classes are the folders' names, over all splits, in alphabetical order; those of the training split are seen.

    Raises: BadInput if there is no class folder, or no image in one.
    Source: your own files.
    """
    root = Path(source)
    tops = {SPLITS[child.name.lower()]: child for child in _folders(root) if child.name.lower() in SPLITS}
    tops = tops or {"all": root}
    found = {split: {child.name: _images(child) for child in _folders(top)} for split, top in tops.items()}
    classes = tuple(sorted({name for by_class in found.values() for name in by_class}))
    if not classes:
        raise BadInput(
            f"{source} has no class folders. Put the images of each class into a folder of its own:\n"
            f"  {source}/CLASS/IMAGE.jpg, or {source}/train/CLASS/IMAGE.jpg and the like."
        )
    empty = [
        str(tops[split] / name) for split, by_class in found.items() for name, files in by_class.items() if not files
    ]
    if empty:
        raise BadInput(f"class folders without an image: {few(empty)}.\n  Images end in {few(sorted(SUFFIXES), 20)}.")
    index = {name: label for label, name in enumerate(classes)}
    splits = {split: _split(by_class, index) for split, by_class in found.items()}
    return Data(classes, splits, _seen(found, classes), str(source))


def _split(by_class: dict[str, list[Path]], index: dict[str, int]) -> Split:
    files = [file for name in sorted(by_class) for file in by_class[name]]
    labels = torch.tensor([index[name] for name in sorted(by_class) for _ in by_class[name]], dtype=torch.int64)
    return Split(labels, lambda i: decode(files[i], str(files[i])), lambda i: str(files[i]))


def _seen(found: dict[str, dict[str, list[Path]]], classes: tuple[str, ...]) -> torch.Tensor:
    trained = found.get("train", dict.fromkeys(classes))
    return torch.tensor([name in trained for name in classes])


def _folders(root: Path) -> list[Path]:
    return sorted(child for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images(top: Path) -> list[Path]:
    """Image files at any depth, in alphabetical order."""
    return sorted(
        Path(where) / name
        for where, _, files in os.walk(top)
        for name in files
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    )
