"""A folder of class folders, with or without train/, val/ and test/ above them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from reclaim.core.errors import BadInput, few, look_alike
from reclaim.core.terminal import printable
from reclaim.data.inputs.decoding import decode
from reclaim.data.listing import Listing
from reclaim.data.noticed import Noticed
from reclaim.data.records import Data, Split
from reclaim.data.report import Report, counts_of
from reclaim.data.splits import check_alike, in_order, one_name_each, split_called

__all__ = ["folder"]

Files = dict[str, list[str]]  # images by class


def folder(source: str) -> Data:
    """Images in one folder per class, in the manner of torchvision's ImageFolder and ImageNet.

    The classes are the folders' names, over all splits, in alphabetical order, or as numbers where all of them are
    numbers; those of the training split are seen. What is an image is told by its suffix, or else by its content.

    Raises: BadInput if there is no class folder, or no image in one; if folders have two names for one split, or look
        like splits or classes and may be meant otherwise; if names of classes look alike.
    Source: your own files.
    """
    listing = Listing(str(Path(source)))
    tops, notes = _tops(listing)
    found = {split: _classes(listing, top) for split, top in tops.items()}
    every = {name for files in found.values() for name in files}
    if not every:
        raise BadInput(
            f"{source} has no class folders. Put the images of each class into a folder of its own:\n"
            f"  {source}/CLASS/IMAGE.jpg, or {source}/train/CLASS/IMAGE.jpg and the like."
        )
    _leave_siblings(listing, tops, every)
    _check_links(listing, tops, found)
    _check_names(listing, tops, found)
    for top in tops.values():
        listing.leave("outside class folders", *(f"{top}/{name}" for name in listing.look(top).images))
    classes = in_order(every)
    index = {name: label for label, name in enumerate(classes)}
    noticed = Noticed(sum(len(files) for of_class in found.values() for files in of_class.values()))
    splits: dict[str, Split] = {}
    for split, of_class in found.items():
        splits[split] = _split(of_class, index, noticed, sum(map(len, splits.values())))
    report = Report(
        rows=counts_of({name: split.labels for name, split in splits.items()}, classes),
        left_out=listing.left_out,
        linked=listing.linked,
        by_content=listing.by_content,
        notes=notes + (_like_splits(listing, tops["all"], classes) if "all" in tops else ()),
        folders={split: Path(top).name for split, top in tops.items() if split != "all"},
    )
    seen = found.get("train", dict.fromkeys(classes))
    mask = torch.tensor([name in seen for name in classes])
    return Data(classes, splits, mask, str(source), report, noticed)


def _tops(listing: Listing) -> tuple[dict[str, str], tuple[str, ...]]:
    """The folder of each split, "all" for the root where there are none, and what is guessed of them."""
    root, names = listing.root, listing.look(listing.root).folders
    called = one_name_each(names, root)
    inside = {name: listing.look(f"{root}/{name}") for name in called.values()}
    if any(one.folders for one in inside.values()):
        return {split: f"{root}/{name}" for split, name in sorted(called.items(), key=_by_folder)}, ()
    others = [listing.look(f"{root}/{name}") for name in names if name not in inside]
    if not called or (len(called) == 1 and others and all(one.images for one in others)):
        notes = [f"{name}/ is taken for a class: it holds images and no class folders" for name in called.values()]
        return {"all": root}, tuple(notes)
    return {split: f"{root}/{name}" for split, name in called.items()}, ()


def _like_splits(listing: Listing, root: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """What to say of classes that hold no images, but folders of the same names, as splits do."""
    inside = [listing.look(f"{root}/{name}") for name in classes]
    both = set.intersection(*(set(one.folders) for one in inside))
    if len(inside) < 2 or len(both) < 2 or any(one.images for one in inside):
        return ()
    return (f"the classes {few(classes, 3)} hold the same folders ({few(in_order(both), 3)}), as splits would",)


def _by_folder(split_and_folder: tuple[str, str]) -> str:
    return split_and_folder[1]


def _classes(listing: Listing, top: str) -> Files:
    """The images of each class folder."""
    found: Files = {}
    for name in listing.look(top).folders:
        place = f"{top}/{name}"
        inside = [sub for sub in listing.look(place).folders if split_called(sub)]
        if split := next((sub for sub in inside if listing.images(f"{place}/{sub}")), None):
            raise BadInput(
                f"{printable(place)} would be a class, and holds a folder called like a split: {split}/.\n"
                f"  Put splits above classes, as in train/CLASS/IMAGE.jpg, or name {printable(place)} as the data."
            )
        found[name] = listing.images(place)
    return found


def _leave_siblings(listing: Listing, tops: Mapping[str, str], classes: set[str]) -> None:
    """Leave out folders beside the splits.

    Raises: BadInput for one that holds folders of images called like classes, as another split does.
    """
    if "all" in tops:
        return
    alike = set(map(look_alike, classes))
    root = listing.root
    listing.leave("outside class folders", *(f"{root}/{name}" for name in listing.look(root).images))
    for name in listing.look(root).folders:
        place = f"{root}/{name}"
        if place in tops.values():
            continue
        inside = [sub for sub in listing.look(place).folders if look_alike(sub) in alike]
        if any(listing.images(f"{place}/{sub}") for sub in inside):
            here = ", ".join(f"{Path(top).name}/" for top in tops.values())
            raise BadInput(
                f"{printable(place)} holds images in folders of classes ({few(map(printable, inside), 3)}) and lies "
                f"beside {here}, but its name is that of no split.\n"
                "  Call it train, val or test if it is one, or move it elsewhere if its images are to be left out."
            )
        listing.leave("folders beside the splits", place)


def _check_links(listing: Listing, tops: Mapping[str, str], found: Mapping[str, Files]) -> None:
    """Raise if links make one folder two: two classes, two splits, or a part of itself."""
    if not listing.links:
        return
    folders = {listing.root, *tops.values()}
    folders |= {f"{tops[split]}/{name}" for split, files in found.items() for name in files}
    places: dict[tuple[int, int], str] = {}
    for place in sorted(folders):
        about = Path(place).stat()
        other = places.setdefault((about.st_dev, about.st_ino), place)
        if other != place:
            raise BadInput(
                f"{printable(other)} and {printable(place)} are one folder, by a symbolic link: its images would "
                "count twice.\n  Remove the link."
            )


def _check_names(listing: Listing, tops: Mapping[str, str], found: Mapping[str, Files]) -> None:
    """Raise if a class folder has no image, or names of class folders look alike or are no text."""
    empty = [f"{tops[split]}/{name}" for split, of in found.items() for name, files in of.items() if not files]
    if empty:
        there = [f"{one.count} {one.why}" for one in listing.left_out]
        raise BadInput(
            f"class folders without an image: {few(map(printable, empty))}.\n"
            f"  Left out of all folders were: {', '.join(there) or 'no files'}."
        )
    for name in {name for files in found.values() for name in files}:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise BadInput(f"the name of the class folder {printable(name)} is not UTF-8.\n  Rename it.")
    check_alike({f"{Path(tops[split]).name}/": tuple(files) for split, files in found.items()})


def _split(of_class: Files, index: Mapping[str, int], noticed: Noticed, first: int) -> Split:
    """The images of one split; they are numbered from `first` on where they are noticed."""
    files = [file for name in sorted(of_class) for file in of_class[name]]
    labels = torch.tensor([index[name] for name in sorted(of_class) for _ in of_class[name]], dtype=torch.int64)

    def read(i: int) -> Image.Image:
        return decode(files[i], files[i], partial(noticed.mark, first + i, name=files[i]))

    return Split(labels, read, lambda i: files[i])
