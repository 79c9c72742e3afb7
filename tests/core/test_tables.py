"""Tables in files: what is read is what was written, whatever the kind, and broken ones are named."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclaim.core.errors import BadInput
from reclaim.core.files import part_of
from reclaim.core.kinds import check_suffix, kind_of_file
from reclaim.core.parquet import open_parquet
from reclaim.core.tables import Stacked, Table, open_table

TEXTS = ["plain", 'a, "quoted"\r\nline', '5" pipe', " ünï ", "", "x" * 200_000, "NA", "null"]
NUMBERS = [0.5, -1e-7, 3.0, 0.1, 1 / 3, 2.0**60, -0.0, 7.25]


def written(folder: Path, kind: str, texts: list[Any] = TEXTS, numbers: list[Any] = NUMBERS) -> Path:
    path = folder / "table"  # the suffix tells nothing
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "number"), *zip(texts, map(repr, numbers), strict=True)])
    elif kind == "json lines":
        rows = (json.dumps({"text": t, "number": n}) for t, n in zip(texts, numbers, strict=True))
        path.write_text("\n".join(rows), encoding="utf-8")
    elif kind == "json":
        path.write_text(json.dumps([{"text": t, "number": n} for t, n in zip(texts, numbers, strict=True)]))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        table = pyarrow.table({"text": texts, "number": numbers})
        pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=3)
    return path


@pytest.mark.parametrize("kind", ["csv", "json lines", "json", "parquet"])
def test_what_is_read_is_what_was_written(tmp_path: Path, kind: str) -> None:
    table = open_table(written(tmp_path, kind))
    assert table.columns == ("text", "number") and len(table) == len(TEXTS)
    assert table.column("text").tolist() == TEXTS
    assert [table.value(row, "text") for row in (5, 0, 3)] == [TEXTS[row] for row in (5, 0, 3)]
    assert np.array_equal(table.numbers(["number"])[:, 0], NUMBERS)
    assert table.called(3) == "table, row 3" and table.class_names("text") == ()


def test_a_column_that_does_not_fit_in_memory_is_read_where_it_is_used(tmp_path: Path) -> None:
    table = open_parquet(written(tmp_path, "parquet"), room=0)
    assert [table.value(row, "text") for row in (7, 0, 3, 2, 6)] == [TEXTS[row] for row in (7, 0, 3, 2, 6)]
    assert not table.whole


def test_tables_are_stacked_by_the_names_of_their_columns(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second = open_table(written(tmp_path, "csv")), open_table(written(tmp_path / "a", "json"))
    both = Stacked([first, second], tmp_path)
    assert len(both) == 16 and both.column("text").tolist() == TEXTS * 2
    assert [both.value(row, "text") for row in (7, 8, 15)] == [TEXTS[7], TEXTS[0], TEXTS[7]]
    assert both.called(9) == "table, row 1"
    (tmp_path / "other").write_text("text,label\na,b\n")
    with pytest.raises(BadInput, match="only one of them has label, number"):
        Stacked([first, open_table(tmp_path / "other")], tmp_path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_csv_of_any_program_is_read(tmp_path: Path, mark: bytes, delimiter: str, end: bytes) -> None:
    lines = [f"text{delimiter} label", f"'a'{delimiter}0", "", f'"b{delimiter}c"{delimiter}01']
    (tmp_path / "t").write_bytes(mark + end.join(line.encode() for line in lines) + 2 * end)
    table = open_table(tmp_path / "t")
    assert table.columns == ("text", "label")
    assert table.column("text").tolist() == ["'a'", f"b{delimiter}c"] == [table.value(row, "text") for row in (0, 1)]
    assert table.column("label").tolist() == ["0", "01"]  # texts, as they stand there


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1\n", r"row 0: it has 1 values, and the first line has 2"),
        (b"a,b\n1,2\n1,2,3\n", r"row 1: it has 3 values"),
        (b"a,a\n1,2\n", "names columns twice: a"),
        (b'a,b\n"1,2\n', "line 2 .*unexpected end of data"),
        (b'a,b\n"1"x,2\n', "is no row of a table"),
        (b"a,b\r1,2\r3,4\r", "carriage returns alone"),
        ("a,b\nü,2\n".encode("cp1252"), "not in UTF-8: the byte 0xfc at 4"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b'{"a": 1}\n3\n', "row 1 is no object"),
        (b'{"a": 1}\n{"a": NaN}\n', "row 1 is not valid JSON"),
        (b"[]", "no list of rows"),
        (b"[3]", "row 0 is no object, but int"),
        (b"PAR1 and no more", "not a readable Parquet file"),
        (b"\x1f\x8b and so on", "unpack it first"),
        (bytes(range(256)), "is no table"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        open_table(tmp_path / "t")


def refused(table: Table, names: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        table.numbers(names)


def test_what_is_no_number_is_named_with_row_and_column(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a,b\n1,2\n1,two\n")
    refused(open_table(tmp_path / "t"), ["a", "b"], "row 1, column 'b': two is no number")
    (tmp_path / "t").write_text('{"z": [1, 2]}\n{"z": [1]}\n')
    refused(open_table(tmp_path / "t"), ["z"], "row 1: 2 numbers were expected")
    (tmp_path / "t").write_text('{"a": 1, "b": 2}\n{"a": 1}\n')
    refused(open_table(tmp_path / "t"), ["a", "b"], "row 1: 2 numbers")
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pyarrow.table({"z": [[1.0, 2.0], [1.0]], "a": [1.0, None], "y": [[1.0] * 3, [1.0]]}), tmp_path / "t"
    )
    refused(open_table(tmp_path / "t"), ["z"], "'z' must hold a list of numbers in every row, all equally long")
    refused(open_table(tmp_path / "t"), ["y"], "'y' differ in length")
    refused(open_table(tmp_path / "t"), ["a"], "'a' holds something else than numbers")


def test_lists_of_numbers_are_rows(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"z": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "p")
    (tmp_path / "j").write_text('{"z": [1, 2]}\n{"z": [3.0, 4]}\n')
    for name in ("p", "j"):
        assert open_table(tmp_path / name).numbers(["z"]).tolist() == [[1, 2], [3, 4]]


def test_a_file_that_has_become_shorter_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "csv")
    table = open_table(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match="has become shorter"):
        table.value(5, "text")
    assert part_of(path, 2, 6) == path.read_bytes()[2:6]


def test_what_a_file_holds_is_told_by_its_content(tmp_path: Path) -> None:
    torch, pickle = pytest.importorskip("torch"), pytest.importorskip("pickle")
    with (tmp_path / "npy").open("wb") as file:
        np.save(file, np.zeros(3))
    with (tmp_path / "npz").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    torch.save(torch.zeros(3), tmp_path / "torch")
    torch.save(torch.zeros(3), tmp_path / "old", _use_new_zipfile_serialization=False)
    pytest.importorskip("safetensors.torch").save_file({"a": torch.zeros(3)}, tmp_path / "safetensors")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "text").write_text("a,b\n" + "ü" * 5000, encoding="utf-8")
    (tmp_path / "shifted").write_text("a" + "ü" * 5000, encoding="utf-8")  # the look ends inside a letter
    (tmp_path / "json lines").write_text(' {"a": 1}')
    (tmp_path / "json").write_text("\n[1]")
    known = {path.name: kind_of_file(path) for path in tmp_path.iterdir()}
    assert known == {name: name for name in known} | {"old": "torch", "pickle": "other", "shifted": "text"}


def test_a_suffix_that_lies_is_refused() -> None:
    check_suffix(Path("a.json"), ".json")
    check_suffix(Path("a.b"), ".json")  # says nothing
    with pytest.raises(BadInput, match=r"would hold JSON, and its suffix says a table in text.\n  Name it a.json"):
        check_suffix(Path("a.CSV"), ".json")
