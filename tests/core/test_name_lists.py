"""Names in text files: read in the encodings that editors write, or refused with the file and the encoding."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclaim.core.errors import BadInput
from reclaim.core.name_lists import names_in

NAMES = ["café", "Žluť", "猫", "two words"]
PRINTED = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\r"])
def test_names_are_read_in_every_encoding_that_is_certain(
    tmp_path: Path, encoding: str, end: str, between: str
) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes((between.join(NAMES) + end).encode(encoding))
    assert names_in(path) == NAMES
    path.with_suffix(".json").write_bytes(json.dumps(NAMES, ensure_ascii=False).encode(encoding))
    assert names_in(path.with_suffix(".json")) == NAMES


@settings(max_examples=80, deadline=None)
@given(st.lists(PRINTED, min_size=1, max_size=9, unique=True), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_any_names_come_back(tmp_path_factory: pytest.TempPathFactory, names: list[str], encoding: str) -> None:
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_bytes("\n".join(names).encode(encoding))
    assert names_in(path) == names


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman", "cp1250", "shift-jis"])
def test_an_encoding_that_nothing_tells_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("ant\n{}\n".format("猫" if encoding == "shift-jis" else "é").encode(encoding))
    with pytest.raises(BadInput, match=r"names.txt is not in UTF-8.* the byte 0x.. in line 2") as refused:
        names_in(path)
    assert "cp1252" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "holds no names"),
        (b" \n\n", "holds no names"),
        (b"ant\n\nbee\n", "names nothing in line 2"),
        (b"ant\nbee\n ant \n", "given more than once: ant"),
        ("ant\nbee".encode("utf-16-le"), "holds zero bytes, as UTF-16 does"),
        (b"\xff\xfea", "is not in UTF-16-LE"),
    ],
)
def test_text_that_lists_no_names_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "names.txt").write_bytes(text)
    with pytest.raises(BadInput, match=message):
        names_in(tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["ant", 7]', "7 is no text"),
        ('["ant", null]', "None is no text"),
        ('{"ant": 0}', "holds dict"),
        ('"ant"', "holds str"),
        ('["ant", "ant"]', "given more than once: ant"),
        ('["ant", " "]', "names nothing in entry 2"),
        ("[]", "holds no names"),
        ("[" * 9000, "is no JSON list of names"),
        ('["ant"', "is no JSON list of names"),
    ],
)
def test_json_that_is_no_list_of_names_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        names_in(tmp_path / "names.json")
