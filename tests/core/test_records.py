"""Records from files that are damaged or lie."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from reclaim.core import records
from reclaim.core.errors import Argument, BadInput
from reclaim.core.records import MOST_DEPTH, parse_json, read_json, read_record


@dataclass(frozen=True)
class Part:
    file: str
    rows: int


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    scale: float = 1.0
    note: str | None = None


def test_a_record_is_read_as_its_type(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"parts": [{"file": "a", "rows": 3}], "scale": 2, "unheard": [1]}')
    assert read_record(path, Whole) == Whole((Part("a", 3),), 2.0)
    path.write_bytes(b"\xef\xbb\xbf" + '{"parts": [], "note": "α"}'.encode())  # as an editor on Windows saves it
    assert read_record(path, Whole) == Whole((), 1.0, "α")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "expected object, got array"),
        ("null", "expected object, got null"),
        ("{}", "object missing required field parts"),
        ('{"parts": [{"file": "a", "rows": 1}, {"file": "b", "rows": true}]}', r"got bool, at parts\[1\]\.rows"),
        ('{"parts": [{"file": "a", "rows": 1.0}]}', r"expected int, got float, at parts\[0\]\.rows"),
        ('{"parts": [{"file": 7, "rows": 1}]}', r"expected str, got int, at parts\[0\]\.file"),
        ('{"parts": [], "scale": "1"}', "expected float, got str, at scale"),
        ('{"parts": [], "note": false}', "got bool, at note"),
    ],
)
def test_what_is_of_another_type_is_named_with_its_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=f"r.json holds something else than it should: .*{expected}"):
        read_record(path, Whole)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1, 2] 3", "NaN", "[Infinity]", "1e400", "9" * 5000, "-" + "9" * 5000, "[" * 200_000, '{"a":' * 100_000,
     '"\ud800"', "\x00", '{"a": 1,}', "tru", '"\x01"'],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_json_is_one_message_that_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadInput, match=r"r.json is (not valid JSON|nested deeper)"):
        read_json(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(BadInput, match=r"r.json is not valid JSON"):
        read_json(tmp_path / "r.json")


def test_depth_has_a_bound_and_up_to_it_everything_is_read() -> None:
    deepest = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    with pytest.raises(BadInput, match=f"this is nested deeper than {MOST_DEPTH} levels"):
        parse_json(deepest, "this")
    assert parse_json(deepest[1:-1], "this") == json.loads(deepest[1:-1])
    assert parse_json('{"a": ["[[[["]}', "this") == {"a": ["[[[["]}  # brackets in text are text


def test_a_file_too_large_for_a_record_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    path.write_text("[1, 2]")
    monkeypatch.setattr(records, "MOST_BYTES", 6)
    assert read_json(path) == [1, 2]
    monkeypatch.setattr(records, "MOST_BYTES", 5)
    with pytest.raises(BadInput, match=r"r.json has 6 bytes; a record has 5 at most"):
        read_json(path)


@dataclass(frozen=True)
class Picky:
    share: float

    def __post_init__(self) -> None:
        if self.share > 1:
            raise BadInput(f"a share is at most 1; given: {self.share}.", Argument("share", "give"))


def test_what_a_type_itself_refuses_is_said_in_its_words_with_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"a": {"share": 1.5}}')
    with pytest.raises(BadInput) as caught:
        read_record(path, dict[str, Picky])
    assert caught.value.what == f"{path}, at [...]: a share is at most 1; given: 1.5."
    assert caught.value.do == (Argument("share", "give"),)


def test_numbers_come_as_python_reads_them() -> None:
    for text in ("0.1", "-0.0", "1e-320", "123456789012345678901", "1.7976931348623157e308", "2.5e-5", "[1, 1.0]"):
        assert repr(parse_json(text, "x")) == repr(json.loads(text))
