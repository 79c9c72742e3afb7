"""Where commands read and write: no output damages what is read, exists unasked, or says that it is something else."""

from pathlib import Path

import pytest

from reclaim.cli.places import check_tokens, take
from reclaim.core.errors import BadInput

ARRAYS = ("--labels", "labels.csv", "--seen", "seen.txt")
RUNS = {
    "apply": (
        ("apply", "c.json", "a.npz", "--before", "b.npz", *ARRAYS),
        ".safetensors", "c.json a.npz b.npz labels.csv seen.txt",
    ),
    "apply --model": (("apply", "c.json", "--model", "model"), "", "c.json model"),
    "calibrate": (
        ("calibrate", "temperature", "a.npz", "--after", "c.json", "--held-out", "b.npz", "--classes", "names.txt",
         *ARRAYS),
        ".json", "a.npz c.json b.npz names.txt labels.csv seen.txt",
    ),
    "calibrate logit-offset": (
        ("calibrate", "logit-offset", "a.npz", "--before", "b.npz", "--reference", "d.npz", "--unlabelled", "e.npz",
         "--source", "f.npz", "--labelled", "g.npz", "--classes", "names.txt", *ARRAYS),
        ".json", "a.npz b.npz d.npz e.npz f.npz g.npz names.txt labels.csv seen.txt",
    ),
    "classify": (("classify", "one.png", "data", "--model", "model"), ".csv", "one.png model"),
    "export": (("export", "--to", "onnx", "--model", "model", "--calibrator", "c.json"), ".onnx", "model c.json"),
    "merge": (("merge", "interpolation", "--before", "model", "--after", "other", "--data", "data"), "", "model other"),
    "paper": (("paper", "digits-left-out", "--smoke", "--root", "data"), "", "data"),
    "predict": (("predict", "--model", "model", "--data", "data", "--split", "all"), ".safetensors", "model"),
    "repair": (
        ("repair", "--before", "model", "--after", "other", "--data", "data", "--initial", "start",
         "--report", "a.npz,b.npz", "--unlabelled", "stream", "--source", "wide", "--labelled", "few", *ARRAYS),
        "", "model other start a.npz b.npz labels.csv seen.txt stream wide few",
    ),
    "report": (
        ("report", "a.npz", "b.npz", "--before-model", "model", "--after-model", "other", "--calibrator", "c.json",
         "--calibrator", "d.json", "--classes", "names.txt", *ARRAYS),
        ".html", "a.npz b.npz model other c.json d.json names.txt labels.csv seen.txt",
    ),
    "tune": (("tune", "fine-tune", "--model", "model", "--data", "data"), "", "model"),
}  # fmt: skip
FOLDERS = {name for name, (_, suffix, _) in RUNS.items() if not suffix}
DATA = {"classify": "data", "merge": "data", "predict": "data", "repair": "data stream wide few", "tune": "data"}
BESIDE = {"apply": "out.safetensors.index.json", "predict": "out.safetensors.index.json"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that the commands name, none of which can be read."""
    monkeypatch.chdir(tmp_path)
    for words, _, _ in RUNS.values():
        for name in (part for word in words for part in word.split(",") if Path(part).suffix):
            Path(name).write_text("no such thing")
    for name in ("model", "other", "data", "start", "stream", "wide", "few"):
        Path(name).mkdir()
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_nothing_that_a_command_reads_is_replaced(here: Path, reclaim, name: str) -> None:
    words, suffix, reads = RUNS[name]
    before = sorted(here.rglob("*"))
    for place in reads.split():
        done = reclaim(*words, "--out", place, "--force")
        assert done.code == 2 and f"{place} is what the command reads; give another output." in done.err, done
    for place in DATA.get(name, "").split():
        done = reclaim(*words, "--out", f"{place}/out{suffix}")
        assert done.code == 2 and f"{place}/out{suffix} lies inside " in done.err, done
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("name", RUNS)
def test_an_output_is_replaced_only_when_asked_and_by_its_like(here: Path, reclaim, name: str) -> None:
    words, suffix, _ = RUNS[name]
    out = Path(f"out{suffix}")
    kind = (
        "is no folder, and a folder is to be written" if name in FOLDERS else "is a folder, and a file is to be written"
    )
    if name in FOLDERS:
        out.mkdir()
        (out / "precious").touch()
    else:
        out.touch()
        for wrong in (".zip", ".npz"):
            done = reclaim(*words, "--out", f"new{wrong}")
            assert done.code == 2 and f"new{wrong}" in done.err and " suffix " in done.err, done
    done = reclaim(*words, "--out", out)
    assert done.code == 2 and f"{out} exists already" in done.err, done
    if name != "paper":  # which would run
        done = reclaim(*words, "--out", out, "--force")
        assert done.code == 2 and "exists already" not in done.err, done
    for beside in (f"{out}.run.json", BESIDE.get(name)) if suffix else ():
        if beside is not None:
            out.unlink(missing_ok=True)
            Path(beside).touch()
            done = reclaim(*words, "--out", out)
            assert done.code == 2 and f"{beside} exists already" in done.err, done
            Path(beside).unlink()
    other = here / f"other{suffix}"
    if name in FOLDERS:
        other = here / "file"
        other.touch()
    else:
        other.mkdir(exist_ok=True)
    done = reclaim(*words, "--out", other.name, "--force")
    assert done.code == 2 and kind in done.err, done


def refusal(*arguments: object, **more: object) -> str:
    """What is wrong with a place; empty if nothing is."""
    try:
        take(*arguments, **({"folder": False, "force": False} | more))  # type: ignore[arg-type]
    except BadInput as error:
        return str(error)
    return ""


def test_places_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "work" / "here"
    for folder in (here, here / "model" / "sub"):
        folder.mkdir(parents=True)
    for file in ("model/w", "part", "a,b"):
        (here / file).write_text("x")
    (here / "link").symlink_to(here / "part")
    monkeypatch.chdir(here)
    runs = "is or holds the folder that the command runs in"
    for out in (Path(), Path(".."), Path("../here"), Path(".."), tmp_path, Path("/")):
        assert runs in refusal(out, folder=True, force=True)
    assert refusal(Path("new")) == refusal(Path("../beside"), folder=True) == ""
    reads = "is what the command reads"
    assert reads in refusal(Path("part"), force=True, reads=["part"]) and reads in refusal(
        Path("link"), force=True, reads=["part"]
    )
    assert reads in refusal(Path("part"), force=True, reads=["plain/x@part"])
    assert reads in refusal(Path("part"), force=True, reads=["nowhere,part"])
    assert reads in refusal(Path("a,b"), force=True, reads=["a,b"])
    assert refusal(Path("part"), force=True, reads=["nowhere", None, "x" * 3000]) == ""
    assert "holds" in refusal(Path("model"), folder=True, force=True, reads=["model/w"])
    assert "lies inside" in refusal(Path("model/new"), folder=True, reads=["model"])
    assert refusal(Path("model/new")) == refusal(Path("model/new"), reads=["model"]) == ""
    assert "is a part of" in refusal(Path("model/w"), force=True, reads=["model"])
    assert refusal(Path("model/sub/new"), reads=["model"]) == ""
    assert "lies inside" in refusal(Path("model/new"), data=["model"]) and "lies inside" in refusal(
        Path("model/sub/x"), data=["model"]
    )
    assert (
        "part exists already" in refusal(Path("new"), Path("part"))
        and refusal(Path("new"), Path("part"), force=True) == ""
    )
    assert (
        "suffix" in refusal(Path("new.csv"), suffixes=(".json",))
        and refusal(Path("new.json"), suffixes=(".json",)) == ""
    )


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("a", ""), "an argument is empty: nothing was given where something is needed."),
        (("--out", ""), "--out is empty: nothing was given where something is needed."),
        (("--out", "x", ""), "an argument is empty: nothing"),
        (("--out=",), "--out is empty: nothing"),
        (("a\0",), "an argument holds a NUL, which no name can: 'a\\x00'."),
        (("--out=a\0",), "an argument holds a NUL"),
        (("a\ud800",), "an argument holds bytes that are not UTF-8: a\ud800. Give the file another name."),
        (("\udfff",), "bytes that are not UTF-8"),
    ],
)
def test_words_that_are_no_name_of_anything(tokens: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput) as error:
        check_tokens(tokens)
    assert message in str(error.value)


def test_words_that_are_names_pass() -> None:
    check_tokens(["--flag", "--", "-x", "a=", "--out=x", "\ud7ff", "\ue000"])
