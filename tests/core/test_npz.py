"""Arrays from files that are damaged or lie."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from reclaim.core import npz
from reclaim.core.errors import BadInput
from reclaim.core.npz import load_npz, texts

NUMBERS = np.arange(12, dtype=np.float32).reshape(3, 4)


def header(shape: str, dtype: str = "<f4", fortran: str = "False") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def written(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_they_were(tmp_path: Path, save) -> None:
    arrays = {
        "numbers": NUMBERS, "columns": np.asfortranarray(NUMBERS), "swapped": NUMBERS.astype(">f8"),
        "none": NUMBERS[:0],
        "one": np.int16(3), "text": np.array(["a", "βγ"]), "bytes": np.array([b"a", b"bc"]), "truth": NUMBERS > 3,
        "half": NUMBERS.astype(np.float16), "unsigned": np.arange(3, dtype=np.uint64),
    }  # fmt: skip
    save(tmp_path / "a.npz", **arrays)
    back = load_npz(tmp_path / "a.npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(back[name], array) and back[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            header("(10000000000, 4)"),
            r"says that it has the shape \[10000000000, 4\], 160,000,000,000 bytes, and has 0",
        ),
        (header("(3, 4)") + bytes(47), "48 bytes, and has 47"),
        (header("(3, 4)") + bytes(49), "48 bytes, and has 49"),
        (header("(-3, -4)") + bytes(48), r"shape \[-3, -4\]"),
        (header("(3,)", "|O") + b"cos\nsystem\n", "pickled objects, which could run code"),
        (header("(3,)", "<c8") + bytes(24), "holds complex64"),
        (header("(3,)", "<M8[s]") + bytes(24), r"holds datetime64\[s\]"),
        (header("(3,)", "|V4") + bytes(12), r"holds \|V4"),
        (header("(3,)", "<f16") + bytes(48), "holds float128"),
        (header("(3,)", "<f99") + bytes(48), "cannot be read"),
        (header("((((", "<f4"), "cannot be read"),
        (header("(3, 4)", fortran="maybe") + bytes(48), "cannot be read"),
        (b"\x93NUMPY\x09\x00" + bytes(60), "version 9.0"),
        (b"PNG", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_lies_is_named_with_its_file(tmp_path: Path, content: bytes, expected: str, method: int) -> None:
    with pytest.raises(BadInput, match=f"a.npz: 'wrong'.*{expected}"):
        load_npz(written(tmp_path / "a.npz", method, wrong=content))


def test_what_numpy_never_writes_is_refused(tmp_path: Path) -> None:
    path, good = tmp_path / "a.npz", io.BytesIO()
    np.save(good, NUMBERS)
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with pytest.raises(BadInput, match=rf"a.npz: 'x.npy' is compressed by method {method}"):
            load_npz(written(path, method, x=good.getvalue()))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", good.getvalue())
        archive.writestr("x.npy", good.getvalue())
    with pytest.raises(BadInput, match=r"a.npz holds an array twice"):
        load_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(BadInput, match=r"a.npz: 'readme.txt' is no array"):
        load_npz(path)
    written(path, x=good.getvalue())
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a.npz: 'x.npy' is encrypted"):
        load_npz(path)
    with path.open("wb") as file:
        np.save(file, NUMBERS)
    with pytest.raises(BadInput, match=r"a.npz cannot be read: it is no \.npz"):
        load_npz(path)


def test_an_array_that_a_damaged_list_of_contents_leaves_out_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, first=NUMBERS, second=NUMBERS, third=NUMBERS)
    content = bytearray(path.read_bytes())
    second = content.rindex(b"second.npy") - 46
    third = content.rindex(b"third.npy") - 46
    content[second + 32] = len(content[third : content.rindex(b"PK\x05\x06")])  # a comment as long as the next entry
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["first.npy", "second.npy"]
    with pytest.raises(BadInput, match=r"a.npz cannot be read: its list of contents is damaged: 2 of 3 arrays"):
        load_npz(path)


def test_a_comment_behind_an_archive_is_no_harm(tmp_path: Path) -> None:
    with zipfile.ZipFile(written(tmp_path / "a.npz", x=header("(3, 4)") + bytes(48)), "a") as archive:
        archive.comment = b"x" * 0xFFFF
    assert list(load_npz(tmp_path / "a.npz")) == ["x"]


def test_what_unpacks_to_much_more_than_it_is_or_than_memory_has_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, x=header("(250000,)") + bytes(1_000_000))
    assert load_npz(path)["x"].shape == (250_000,)
    monkeypatch.setattr(npz, "_LARGE", 999_999)
    with pytest.raises(BadInput, match=r"'x.npy' unpacks from [\d,]+ to 1,000,128 bytes, more than 200 times"):
        load_npz(path)
    monkeypatch.setattr(npz, "_LARGE", 1_000_200)

    class Memory:
        available = 1_000_127

    monkeypatch.setattr(npz.psutil, "virtual_memory", Memory)
    with pytest.raises(BadInput, match=r"a.npz takes 1,000,128 bytes of memory, and 1,000,127 are free"):
        load_npz(path)
    Memory.available += 1
    load_npz(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path: Path, save) -> None:
    path = tmp_path / "a.npz"
    save(path, numbers=NUMBERS, text=np.array(["a", "bc"]))
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        content[random.integers(len(whole))] ^= random.integers(1, 256)
        path.write_bytes(content[: random.integers(len(whole))] if random.random() < 0.2 else content)
        try:
            back = load_npz(path)
        except BadInput as error:
            assert "a.npz" in str(error)
            continue
        assert all(np.array_equal(array, {"numbers": NUMBERS, "text": ["a", "bc"]}[n]) for n, array in back.items())


def test_names_are_text_or_whole_numbers_or_lines_of_bytes() -> None:
    assert texts(np.array(["a", "β"]), "n") == ("a", "β")
    assert texts(np.array([b"a", "β".encode()]), "n") == ("a", "β")
    assert texts(np.frombuffer("a\nβ".encode(), np.uint8), "n") == ("a", "β")
    assert texts(np.array([3, 1]), "n") == ("3", "1")
    for wrong in (np.array([0.5]), np.array("a"), np.array([["a"]]), np.array([True]), np.array([b"\xff"]),
                  np.frombuffer(b"a\n\xff", np.uint8), np.frombuffer(b"\xff" * 8, "<U1")):  # fmt: skip
        with pytest.raises(BadInput, match=r"^n (must be|are no text)"):
            texts(wrong, "n")
    with pytest.raises(BadInput, match="n: there are 2 for 3 rows"):
        texts(np.array(["a", "b"]), "n", 3)
