"""Every flag reaches the function that it is for, with its value; and without flags that function gets its defaults."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reclaim.cli.arrays import Arrays
from reclaim.cli.flags import Heads, Inputs, Reading, open_data, open_model
from reclaim.core.errors import BadInput
from reclaim.core.inference import Inference
from reclaim.data.guesses import Columns
from reclaim.data.report import LeftOut, Report
from reclaim.repairs.choices import Choices
from reclaim.snapshots.arrays import Told
from reclaim.snapshots.reading import load_snapshot
from tests import toys

Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Calls]:
    """Replace a function of a module by one that notes what it is called with, and gives an answer or refuses."""

    def spy(module: str, name: str, answer: Any = None) -> Calls:
        calls: Calls = []

        def noted(*arguments: Any, **more: Any) -> Any:
            calls.append((arguments, more))
            if answer is None:
                raise BadInput("stop.")
            return answer

        monkeypatch.setattr(import_module(f"reclaim.{module}"), name, noted)
        return calls

    return spy


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("a\nb")
    return tmp_path


INPUTS = ("--image-size", 7, "--mean", 0.1, 0.2, 0.3, "--std", 0.4, 0.5, 0.6, "--classes", "names.txt", "--head", "h.0",
          "--upright", "--weights", "raw")  # fmt: skip
TOLD = {"image_size": 7, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "classes": ["a", "b"], "upright": True,
        "weights": "raw"}  # fmt: skip
NOTHING = dict.fromkeys(TOLD)
COMMANDS = {
    "predict": ("predict", "--model", "m", "--data", "d", "--split", "val", "--out", "o.safetensors"),
    "tune": ("tune", "fine-tune", "--model", "m", "--data", "d", "--out", "o"),
    "merge": ("merge", "interpolation", "--before", "m", "--after", "n", "--out", "o"),
    "repair": ("repair", "--before", "m", "--after", "n", "--data", "d", "--out", "o"),
    "classify": ("classify", "x.png", "--model", "m"),
    "export": ("export", "--to", "onnx", "--model", "m", "--out", "o.onnx"),
    "apply": ("apply", "c.json", "--model", "m", "--out", "o"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_said_of_inputs_reaches_the_model(here: Path, reclaim, spied, command: str) -> None:
    spied("calibration.files", "load_calibrator", object())
    calls = spied("models.directory", "load_model")
    for flags in (INPUTS, ()):
        assert reclaim(*COMMANDS[command], *flags).err.endswith("reclaim: stop.\n")
    told = [(arguments, {**more, "classes": more["classes"] and list(more["classes"])}) for arguments, more in calls]
    assert told == [(("m", "h.0"), TOLD), (("m", None), NOTHING)]
    open_model_alone = spied("models.directory", "load_model", toys.classifier())
    open_model("m")
    assert open_model_alone == [(("m", None), NOTHING)]


def test_each_model_of_a_pair_has_its_own_names_and_both_are_opened_alike(here: Path, spied) -> None:
    calls = spied("models.directory", "load_model", toys.classifier())
    first, second = Heads("v,w,x,y,z").open("m", "n", Inputs(head="head", upright=True, classes=Path("names.txt")))
    assert [arguments for arguments, _ in calls] == [("m", "head"), ("n", "head")]
    assert all(more["upright"] is True for _, more in calls)
    assert [more["classes"] and list(more["classes"]) for _, more in calls] == [None, ["a", "b"]]
    assert first.classes == tuple("vwxyz") and second.classes == toys.CLASSES
    Path("five.txt").write_text("\n".join("12345"))
    first, second = Heads(None, "five.txt").open("m", "n", Inputs())
    assert first.classes == toys.CLASSES and second.classes == tuple("12345")
    with pytest.raises(BadInput, match="--initial is only for adapters, and n is none"):
        Heads().open("m", "n", Inputs(), Path("start"))
    with pytest.raises(BadInput, match="2 class names were given for 5"):
        Heads("a,b").open("m", "n", Inputs())


@pytest.mark.parametrize("command", ["predict", "tune", "repair"])
def test_what_is_said_of_columns_reaches_the_data(here: Path, reclaim, spied, command: str) -> None:
    spied("models.directory", "load_model", toys.classifier())
    calls = spied("data.load", "open_source")
    images = ("--image-column", "i", "--label-column", "l", "--group-column", "g", "--label-map", "q")
    for flags in (images, ("--text-column", "t"), ()):
        assert reclaim(*COMMANDS[command], *flags).err == "reclaim: stop.\n"
    assert calls == [
        (("d", Columns("i", None, "l", "g")), {"label_map": Path("q"), "labelled": True}),
        (("d", Columns(None, "t")), {"label_map": None, "labelled": True}),
        (("d", Columns()), {"label_map": None, "labelled": True}),
    ]


def test_seen_classes_are_those_said_or_a_models_or_those_of_the_data(here: Path, spied) -> None:
    data = toys.data()
    spied("data.load", "open_source", data)
    knows, nothing = (replace(toys.classifier(), seen=seen) for seen in (("ant", "cat", "unknown"), None))

    def seen(*arguments: Any) -> tuple[str, ...]:
        return tuple(open_data("d", *arguments).seen_classes)

    Path("seen.txt").write_text("elk\ndog")
    assert seen("bee,dog", knows) == ("bee", "dog") and seen("seen.txt") == ("dog", "elk")
    assert seen(None, nothing, knows) == seen(None, knows, nothing) == ("ant", "cat")
    assert seen(None) == seen(None, nothing) == tuple(data.seen_classes)
    assert Reading(True, "i", None, None, None, Path("map")).said == {"image_column": "i", "label_map": "map"}
    assert Reading().said == {}


RUN = ("--batch-size", 7, "--workers", 0, "--precision", "bf16", "--device", "cpu")
INFERENCE = Inference(batch_size=7, workers=0, precision="bf16", device="cpu")


def test_predict_gets_what_it_is_told(here: Path, reclaim, spied) -> None:
    model = replace(toys.classifier(), classes=(*toys.CLASSES[:4], "more"))
    spied("models.directory", "load_model", model)
    data = toys.data()
    keep = tuple(name for name in data.classes if name in model.classes)
    rows = data.split("val").rows(data.split("val").labels < 4)
    spied("data.load", "open_source", replace(data, classes=keep, seen=data.seen[:4], splits={"val": rows}))
    calls = spied("models.predict", "predict")
    for more in (("--no-features", "--half", "--shard-size", 0.5, "--columns", "model", *RUN), ()):
        assert reclaim(*COMMANDS["predict"], *more).err.endswith("reclaim: stop.\n")
    (first, told), (second, plain) = calls
    assert first[2] == second[2] == "val" and (first[1].classes, second[1].classes) == (model.classes, keep)
    out = Path("o.safetensors")
    assert told == {"out": out, "features": False, "half": True, "shard_size": 2**29, "inference": INFERENCE}
    assert plain == {"out": out, "features": True, "half": False, "shard_size": 5 * 2**30, "inference": Inference()}


def test_classify_gets_what_it_is_told(here: Path, reclaim, spied) -> None:
    spied("models.directory", "load_model", toys.classifier())
    calls = spied("models.classify", "classify")
    more = ("--top", 3, "--abstain-below", 0.25, "--image-column", "i", "--skip-bad", *RUN)
    reclaim("classify", "x.png", "y", "--model", "m", *more)
    reclaim("classify", "x.txt", "--model", "m", "--text-column", "t")
    reclaim("classify", "x.png", "--model", "m")
    names = [(Path("x.png"), Path("y")), (Path("x.txt"),), (Path("x.png"),)]
    assert [arguments[1] for arguments, _ in calls] == names
    told = {"top": 3, "abstain_below": 0.25, "columns": Columns("i"), "skip_bad": True, "inference": INFERENCE}
    plain = {"top": 1, "abstain_below": 0.0, "columns": Columns(), "skip_bad": False, "inference": Inference()}
    assert [more for _, more in calls] == [told, plain | {"columns": Columns(None, "t")}, plain]


def test_repair_gets_what_it_is_told(here: Path, reclaim, spied) -> None:
    spied("models.directory", "load_model", toys.classifier())
    data = toys.data()
    opened = spied("data.load", "open_source", data)
    calls = spied("repairs.models", "repair")
    for name in "usl":
        Path(name).mkdir()
    places = ("--unlabelled", "u", "--source", "s", "--labelled", "l")
    done = reclaim(*COMMANDS["repair"], *places, "--seen", "ant,cat,dog", "--prepare", "after", "--result", "merged",
                   "--mix", 0.5, "--seed", 3, "--held-out", 0.25, "--prefer", "absent", "--class-shifts", 0.1,
                   *RUN)  # fmt: skip
    assert done.err == "reclaim: stop.\n"
    assert reclaim(*COMMANDS["repair"]).err == "reclaim: stop.\n"
    (first, told), (second, plain) = calls
    assert first[3] == Choices(mix=0.5, seed=3, held_out=0.25, prefer="absent", class_shifts=0.1)
    assert second[3] == Choices()
    evidence, none = told.pop("evidence"), plain.pop("evidence")
    assert told == {
        "seen": ("ant", "cat", "dog"), "prepare": "after", "result": "merged", "inference": INFERENCE, "retrain": None
    }  # fmt: skip
    assert plain == {"seen": None, "prepare": None, "result": None, "inference": Inference(), "retrain": None}
    assert [place[0] for place, _ in opened] == ["d", "u", "s", "l", "d"]
    assert [more["labelled"] for _, more in opened] == [True, False, True, True, True]
    assert not any(split.labels.any() for split in evidence.unlabelled.splits.values())
    assert torch.equal(evidence.source.split("val").labels, data.split("val").labels)
    assert evidence.source.seen_classes == evidence.labelled.seen_classes == ("ant", "cat", "dog")
    assert none.unlabelled is none.source is none.labelled is None


def test_columns_of_the_target_are_those_of_more_tables_and_its_groups_are_not(here: Path, reclaim, spied) -> None:
    spied("models.directory", "load_model", toys.classifier())
    opened = spied("data.load", "open_source", toys.data())
    spied("repairs.models", "repair")
    Path("folder").mkdir()
    Path("t.csv").write_text("image,label\nx.png,ant\n")
    more = ("--unlabelled", "folder", "--source", "t.csv", "--image-column", "i", "--group-column", "g")
    assert reclaim(*COMMANDS["repair"], *more).err == "reclaim: stop.\n"
    assert [given for (_, given), _ in opened] == [Columns("i", None, None, "g"), Columns(), Columns("i")]


def test_answers_get_what_they_are_told(here: Path, reclaim, spied) -> None:
    arrays = {name: getattr(toys.snapshot(), name).numpy() for name in ("logits", "labels", "seen")}
    for name in "abcdefgh":
        np.savez(f"{name}.npz", **arrays)
    calls = spied("repairs.answers", "repair_answers")
    pairs = ("--unlabelled", "c.npz,d.npz", "--labelled", "e.npz,f.npz", "--report", "g.npz,h.npz")
    common = ("repair", "--before", "a.npz", "--after", "b.npz", "--out", "o")
    assert reclaim(*common, *pairs, "--mix", 0.5).err == "reclaim: stop.\n"
    assert reclaim(*common).err == "reclaim: stop.\n"
    (first, told), (second, plain) = calls
    assert first[2] == Choices(mix=0.5) and second[2] == Choices()
    assert len(told["report"]) == len(told["evidence"].unlabelled) == len(told["evidence"].labelled) == 2
    assert told["evidence"].source is None and plain["report"] is None


def test_export_gets_a_model_a_calibrator_or_both(here: Path, reclaim, spied) -> None:
    model, fitted = toys.classifier(), object()
    spied("models.directory", "load_model", model)
    spied("calibration.files", "load_calibrator", fitted)
    spied("bridges.onnx", "check_extra", 1)
    calls = spied("bridges.export", "export_onnx")
    common = ("export", "--to", "onnx", "--out", "o.onnx")
    for more in (("--model", "m"), ("--calibrator", "c.json"), ("--model", "m", "--calibrator", "c.json")):
        reclaim(*common, *more)
    assert [arguments[1:] for arguments, _ in calls] == [(model, None), (None, fitted), (model, fitted)]


def test_the_demo_runs_a_seed_after_the_other_on_its_device(here: Path, reclaim, spied, monkeypatch) -> None:
    devices = spied("core.devices", "find_device", "cpu")
    calls: list[tuple[int, str]] = []

    def demo(seed: int, where: str) -> None:
        calls.append((seed, where))
        if len(calls) == 3:
            raise BadInput("stop.")

    monkeypatch.setattr(import_module("reclaim.papers.demo"), "demo", demo)
    done = reclaim("demo", "--seed", 5, "--device", "cuda:3")
    assert calls == [(5, "cpu"), (6, "cpu"), (7, "cpu")] and devices == [(("cuda:3",), {})]
    assert done.err.splitlines()[0] == "reclaim: the demo writes reclaim-demo" and done.code == 2
    calls.clear()
    assert reclaim("demo", "--quiet").err == "reclaim: stop.\n" and [seed for seed, _ in calls] == [0, 1, 2]
    assert "--seed must be" in reclaim("demo", "--seed", 2**63 - 1, "--seeds", 2).err
    for seeds in (0, 1001):
        wrong = f"--seeds must be a whole number between 1 and 1000; given: {seeds}."
        assert wrong in reclaim("demo", "--seeds", seeds).err


@pytest.mark.parametrize(("flags", "size"), [((), "full"), (("--quick",), "quick"), (("--smoke",), "smoke")])
def test_a_paper_runs_in_its_size_with_its_root(here: Path, reclaim, spied, flags: tuple[str, ...], size: str) -> None:
    Path("root").mkdir()
    calls = spied("papers.run", "run")
    done = reclaim("paper", "digits-left-out", "--root", "root", "--out", "o", "--device", "cpu", *flags)
    (((_, setting, parts), more),) = calls
    assert (setting.size, setting.root, setting.device, parts) == (size, Path("root"), "cpu", here / "o.partial/parts")
    assert not more and done.err.startswith("digits-left-out: about ") and " on two cores; parts: " in done.err
    assert reclaim("paper", "digits-left-out", "--quiet", *flags).err == "reclaim: stop.\n" and calls[-1][0][2] is None
    assert reclaim("paper", "digits-left-out", "--root", "nowhere").err == "reclaim: there is no folder nowhere.\n"


@pytest.mark.parametrize(
    "flags", [("--root", "x"), ("--quick",), ("--smoke",), ("--out", "x"), ("--force",), ("--device", "cpu")]
)
def test_a_list_of_papers_takes_no_flag_of_an_entry(here: Path, reclaim, flags: tuple[str, ...]) -> None:
    done = reclaim("paper", *flags)
    assert done.code == 2 and not done.out
    assert "these flags are for an entry; name one. Without a name and flags all are listed." in done.err


def test_what_is_told_of_arrays_reaches_their_reader(here: Path, spied) -> None:
    calls = spied("snapshots.reading", "load_snapshot", toys.snapshot())
    arrays = Arrays(Path("y"), "a,b", False)
    arrays.open(Path("z"), Path("names.txt"), probabilities=True, floor=0.5)
    arrays.open(Path("z"), same_rows=False, alone=False)
    Arrays(all_classes=True).open(Path("z"))
    plain = {"probabilities": False, "floor": 0.0}
    assert calls == [
        ((Path("z"),), {"probabilities": True, "floor": 0.5, "told": Told(Path("y"), "a,b", False, Path("names.txt"))}),
        ((Path("z"),), {**plain, "told": Told(None, "a,b", False, None, if_missing=True)}),
        ((Path("z"),), {**plain, "told": Told(all_classes=True)}),
    ]
    assert arrays.reads == (Path("y"), "a,b") and Arrays().reads == (None, None)


def test_a_snapshot_alone_must_be_told_what_it_lacks_and_two_may_say_it_for_each_other(
    here: Path, reclaim, spied
) -> None:
    spied("calibration.files", "load_calibrator", object())
    spied("repairs.files", "load_mixture", object())
    calls = spied("snapshots.reading", "load_snapshot")
    for more in ((), ("--before", "b.safetensors")):
        assert reclaim("apply", "c.json", "a.safetensors", "--out", "o.safetensors", *more).code == 2
    assert [told["told"].if_missing for _, told in calls] == [False, True]


def test_the_model_that_is_written_must_take_an_offset(here: Path, reclaim, spied, monkeypatch) -> None:
    """It is the fine-tuned one, or, of heads that differ, the pretrained one, whose head has all classes."""
    pair = {"m": toys.classifier(0), "n": replace(toys.classifier(1), classes=("ant", "bee", "cat", "dog", "new"))}
    monkeypatch.setattr(import_module("reclaim.models.directory"), "load_model", lambda spec, *_, **__: pair[spec])
    calls = spied("models.directory", "check_takes_offset")
    reclaim(*COMMANDS["repair"])
    pair["n"] = replace(pair["n"], classes=toys.CLASSES)
    reclaim(*COMMANDS["repair"])
    assert [arguments[0] for arguments, _ in calls] == [pair["m"], pair["n"]]


def test_a_paper_forgets_what_was_begun_only_where_that_is_asked_for(here: Path, reclaim, spied) -> None:
    spied("papers.run", "run")
    common = ("paper", "digits-left-out", "--out", "o")
    assert reclaim(*common, "--smoke").err.endswith("reclaim: stop.\n")
    other = reclaim(*common, "--quick")
    assert "o.partial holds an unfinished run of another command (size was 'smoke', is 'quick')" in other.err
    Path("o.partial/parts").mkdir()
    assert reclaim(*common, "--smoke").err.endswith("reclaim: stop.\n") and Path("o.partial/parts").is_dir()
    assert reclaim(*common, "--quick", "--force").err.endswith("reclaim: stop.\n")
    assert not Path("o.partial/parts").exists()
    Path("o").mkdir()
    Path("o/mine").touch()
    assert "o exists already" in reclaim(*common, "--quick").err
    assert reclaim(*common, "--quick", "--force").err.endswith("reclaim: stop.\n") and Path("o/mine").exists()


def test_two_snapshots_may_each_say_some_of_it_and_not_both_all(shop: Path) -> None:
    ours = [Path(f"{name}-val.safetensors") for name in ("before", "after")]
    rows = load_snapshot(ours[1])
    np.savez("bare.npz", logits=rows.logits.numpy(), labels=rows.known_labels.numpy())
    seen = ",".join(name for name, one in zip(rows.classes, rows.seen.tolist(), strict=True) if one)
    Path("classes.txt").write_text("\n".join(rows.classes))
    first, second = Arrays(seen=seen).pair(Path("bare.npz"), ours[1], Path("classes.txt"))
    assert torch.equal(first.seen, second.seen) and first.classes == second.classes
    assert Arrays().pair(*ours)[1].classes == rows.classes
    for arrays, classes, name in (
        (Arrays(labels=Path("y")), None, "labels"), (Arrays(seen=seen), None, "seen"), (Arrays(), Path("c"), "classes")
    ):  # fmt: skip
        with pytest.raises(BadInput, match=f"say their {name} themselves") as error:
            arrays.pair(*ours, classes)
        assert [one.name for one in error.value.do] == [name]


class Refusing:
    """A mixture of two models' answers, once both are there."""

    def of(self, before: object, after: object) -> None:
        raise BadInput("stop.")


def test_every_snapshot_is_opened_with_what_is_told_of_it(here: Path, reclaim, spied) -> None:
    """Labels are those of the rows of the first, of the pretrained model's and of a reference; any may say the rest."""
    rows = toys.snapshot()
    spied("calibration.files", "load_calibrator", object())
    spied("calibration.doubts", "doubts")
    calls = spied("snapshots.reading", "load_snapshot", rows)
    told = ("--labels", "y", "--seen", "a,b", "--classes", "names.txt")

    def opened(*words: object) -> dict[str, tuple[Path | None, bool]]:
        calls.clear()
        reclaim(*words)
        for _, more in calls:
            assert (more["told"].seen, more["told"].classes) == ("a,b", Path("names.txt"))
        return {str(path): (more["told"].labels, more["told"].if_missing) for (path,), more in calls}

    y = Path("y")
    more = [
        word for kind in ("before", "reference", "unlabelled", "source", "labelled") for word in (f"--{kind}", kind)
    ]
    assert opened("calibrate", "logit-offset", "first", *more, *told) == {
        "first": (y, False), "before": (y, True), "reference": (y, True), "unlabelled": (None, True),
        "source": (None, True), "labelled": (None, True),
    }  # fmt: skip
    assert opened("calibrate", "temperature", "first", "--held-out", "other", *told) == {
        "first": (y, False), "other": (None, True)
    }  # fmt: skip
    spied("repairs.files", "load_mixture", Refusing())
    assert opened("apply", "m.json", "after", "--before", "before", "--out", "o.safetensors", *told) == {
        "after": (y, True), "before": (y, True)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--skip-bad",), "--skip-bad"), (("--image-column", "i"), "--image-column"),
        (("--label-column", "l", "--group-column", "g"), "--label-column, --group-column"),
        (("--image-size", 8), "--image-size, --mean, --std, --head or --weights"),
        (("--weights", "raw"), "--image-size, --mean, --std, --head or --weights"), (("--upright",), "--upright"),
        (("--workers", 0), "--device, --precision, --batch-size or --workers"), (("--prepare", "before"), "--prepare"),
        (("--result", "merged"), "--result"), (("--initial", "x"), "--initial"), (("--data", "d"), "--data"),
        (("--before-classes", "a,b"), "--before-classes or --after-classes"),
        (("--after-classes", "a,b"), "--before-classes or --after-classes"),
    ],
)  # fmt: skip
def test_each_flag_that_only_models_take_is_refused_beside_snapshots(here: Path, reclaim, flags, named: str) -> None:
    pair = ("--before", "a.safetensors", "--after", "b.safetensors")
    said = reclaim("repair", *pair, "--out", "o", *flags).err
    assert said == f"reclaim: {named}: only for models, but a.safetensors and b.safetensors are snapshots.\n"


@pytest.mark.parametrize("command", ["predict", "tune", "merge", "repair"])
def test_every_command_on_data_leaves_out_what_cannot_be_read_where_asked_and_is_quiet_where_asked(
    here: Path, reclaim, spied, monkeypatch, command: str
) -> None:
    report = Report({"val": {"ant": 1}}, left_out=(LeftOut.of("hidden", ["x"]),), folders={"val": "val"})
    data = replace(toys.data(), report=report, source="d")
    models = {"m": toys.classifier(0), "n": toys.classifier(1)}
    monkeypatch.setattr(import_module("reclaim.models.directory"), "load_model", lambda spec, *_, **__: models[spec])
    monkeypatch.setattr(import_module("reclaim.models.batch_norm"), "statistics_differ", lambda *_: True)
    spied("data.load", "open_source", data)
    skipped = spied("data.load", "without_unreadable")
    words = (*COMMANDS[command], *(("--data", "d") if command == "merge" else ()))
    assert reclaim(*words, "--skip-bad").err.startswith(f"reclaim: {report.line('d')}\n") and len(skipped) == 1
    assert reclaim(*words, "--skip-bad", "--quiet").err == "reclaim: stop.\n" and len(skipped) == 2
