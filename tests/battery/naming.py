"""Names that do harm where they are shown or looked up: of classes, of files and of folders."""

from __future__ import annotations

import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.battery.readers import PREDICT, Kind
from tests.battery.room import CLASSES
from tests.battery.trying import fault_of, ran

__all__ = ["FOLDERS", "NAMES", "PAGES"]

HOSTILE = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\" onload='x", "[/b]", "[red]a[/red]", "[[",
    "]", "{{ 7*7 }}", "{% raw %}", "&lt;", "\x1b[31mred\x1b[0m", "\x1b]8;;http://x\x07", "a\nb", "a\rb", "\u202eabc",
    "\u200b", "-x", "--out", "$HOME", "`id`", "a;b", "%s", "{0}", "con", "..", ".hidden", "a,b", "é", "e\u0301", "😀",
    "\\", "\\n", "a" * 120, " ", " a ", "\t", "0", "1", "nan", "None", "train", "test", "null", "javascript:alert(1)",
    "]]>", "--", "\x85", "\u2028", "\ufeff", "\uffff", "*", "?", "~", "@", "a@b", "é" * 80,
)  # fmt: skip


def _names() -> st.SearchStrategy[str]:
    free = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=24)
    return st.one_of(st.sampled_from(HOSTILE), free, st.tuples(st.sampled_from(HOSTILE), free).map("".join))


def _file_names() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00/")
    free = st.text(letters, min_size=1, max_size=24)
    return st.one_of(st.sampled_from(HOSTILE), free).filter(_is_file_name)


def _is_file_name(name: str) -> bool:
    return "/" not in name and name not in (".", "..") and len(os.fsencode(name)) < 200


class _Parts(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag} | {f"{tag} {name}" for name, _ in attrs}


def _parts(page: Path) -> set[str]:
    parser = _Parts()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


def _snapshot(path: Path, names: list[str], seed: int, like: Path) -> None:
    with np.load(like) as arrays:
        old = dict(arrays)
    random = np.random.default_rng(seed)
    logits = old["logits"] + random.normal(size=old["logits"].shape).astype(np.float32) * seed
    np.savez(path, logits=logits, labels=old["labels"], seen=old["seen"], classes=np.array(names))


def _pages(folder: Path) -> st.SearchStrategy[Any]:
    return st.lists(_names(), min_size=len(CLASSES), max_size=len(CLASSES), unique=True)


def _page_fault(folder: Path, names: list[str]) -> tuple[str, bool]:
    good = folder / "good.html"
    if not good.exists():
        for number, name in enumerate(("o.a.npz", "o.b.npz")):
            _snapshot(folder / name, list(CLASSES), number, folder / "stored.npz")
        assert ran(folder, "report", "o.a.npz", "o.b.npz", "--out", "good.html").code == 0
    for number, name in enumerate(("o.a.npz", "o.b.npz")):
        _snapshot(folder / name, names, number, folder / "stored.npz")
    page = folder / "o.html"
    try:
        outcomes = [ran(folder, *words) for words in (
            ("report", "o.a.npz", "o.b.npz", "--out", "o.html"),
            ("diagnose", "o.a.npz", "o.b.npz"),
        )]  # fmt: skip
        faults = [fault_of(outcome) for outcome in outcomes]
        if outcomes[0].code == 0:
            if more := _parts(page) - _parts(good):
                faults.append(f"a name becomes part of the page: {sorted(more)}")
            if TURNING & set(page.read_text(encoding="utf-8")):
                faults.append("a name turns the text of the page")
    finally:
        for path in folder.glob("o.*"):
            path.unlink()
    return next(filter(None, faults), ""), outcomes[0].code == 2


TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x1b")


def _named(folder: Path) -> st.SearchStrategy[Any]:
    return st.tuples(_file_names(), st.sampled_from(["snapshot", "missing", "out", "calibrator", "classes"]), _names())


def _name_fault(folder: Path, tried: tuple[str, str, str]) -> tuple[str, bool]:
    name, what, other = tried
    place = folder / "o.names"
    place.mkdir()
    try:
        words = _call(place, name, what, other)
        outcome = ran(folder, *words)
        return fault_of(outcome, bad=True if what == "missing" else None), outcome.code == 2
    finally:
        shutil.rmtree(place)


def _call(place: Path, name: str, what: str, other: str) -> tuple[object, ...]:
    given = f"o.names/{name}"
    if what == "snapshot":
        shutil.copy(place.parent / "stored.npz", place / f"{name}.npz")
        return ("evaluate", f"{given}.npz")
    if what == "missing":
        return ("evaluate", f"{given}.safetensors")
    if what == "out":
        return ("calibrate", "temperature", "held.safetensors", "--out", f"{given}.json")
    if what == "calibrator":
        shutil.copy(place.parent / "temperature.json", place / name)
        return ("apply", given, "after.safetensors", "--out", "o.names/made.safetensors")
    (place / "names.txt").write_text(other, encoding="utf-8")
    return (*PREDICT[:4], "o.names/o.safetensors", "--model", "after", "--data", "x.npz", "--seen", "o.names/names.txt")


def _folders(folder: Path) -> st.SearchStrategy[Any]:
    kinds = ("picture", "empty", "fifo", "link", "loop", "broken", "folder", "text", "hidden", "raw", "socket")
    places = ("", "train", "test", "test/ant", "val/bee", "more", "test/ant/deeper", "Train", "testing")
    suffixes = st.sampled_from(["", ".png", ".jfif", ".JPG"])
    addition = st.tuples(st.sampled_from(places), _file_names(), st.sampled_from(kinds), suffixes)
    return st.lists(addition, min_size=1, max_size=3)


def _folder_fault(folder: Path, additions: list[tuple[str, str, str, str]]) -> tuple[str, bool]:
    root = folder / "o.pictures"
    shutil.copytree(folder / "pictures", root, copy_function=os.link)
    try:
        for where, name, kind, suffix in additions:
            _add(root / where, name, kind, suffix, folder / "pictures/test/ant/60.png")
        outcome = ran(root.parent, *_read(root.name))
        return fault_of(outcome), outcome.code == 2
    finally:
        shutil.rmtree(root)
        for path in folder.glob("o.[sr]*"):
            path.unlink()


def _read(source: str) -> tuple[object, ...]:
    return (*PREDICT, "--model", "after", "--data", source)


def _add(place: Path, name: str, kind: str, suffix: str, picture: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{'.' if kind == 'hidden' else ''}{name}{suffix}"
    if path.exists() or path.is_symlink() or len(os.fsencode(path.name)) > 250:
        return
    if kind in ("picture", "hidden"):
        shutil.copy(picture, path)
    elif kind == "raw":
        shutil.copy(picture, os.fsencode(place) + b"/\xff\xfe" + os.fsencode(suffix))
    elif kind in ("fifo", "socket"):
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("link", "loop", "broken"):
        path.symlink_to({"link": picture, "loop": path.name, "broken": "nowhere"}[kind])
    else:
        path.write_bytes({"empty": b"", "text": b"no picture\n", "broken": b""}[kind])


PAGES = Kind("class names on page and terminal", _pages, _page_fault)
NAMES = Kind("names of files", _named, _name_fault)
FOLDERS = Kind("folders of pictures", _folders, _folder_fault)
