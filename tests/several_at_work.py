"""What each of two processes runs that a launcher started; `tests/test_several_processes.py` starts them and looks."""

import contextlib
import io
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState

from reclaim.cli.main import main
from reclaim.core.registry import names
from reclaim.core.several import end_together, processes
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from reclaim.training.resume import resuming
from tests import toys

MODEL = "plain/tests.toys:biasless@start.safetensors"
TUNE = (
    "tune",
    "fine-tune",
    "--model",
    MODEL,
    "--data",
    "rows.npz",
    "--lr",
    "0.05",
    "--batch-size",
    "24",
    "--seed",
    "3",
)
PREDICT = ("predict", "--model", MODEL, "--data", "rows.npz")
SELECTED = (
    "average-logit-gap",
    "gap-matching",
    "margin-mixture",
    "rate-matching",
    "retention-budget",
    "auto",
    "labelled",
)
COMMANDS: dict[str, tuple[str, ...]] = {
    "tuned": (*TUNE, "--steps", "20", "--keep", "best", "--out", "tuned"),
    "half": (*TUNE, "--epochs", "2", "--precision", "bf16", "--accumulate", "2", "--out", "half"),
    "test": (*PREDICT, "--split", "test", "--out", "test.safetensors"),
    "many": (*PREDICT, "--split", "test", "--shard-size", "1e-6", "--out", "many.safetensors"),
    "val": (*PREDICT, "--split", "val", "--out", "val.safetensors"),
    "tiny": (*PREDICT, "--split", "one", "--out", "tiny.safetensors"),
    "evaluated": ("evaluate", "test.safetensors", "--json"),
    "table": ("evaluate", "many.safetensors"),
    **{
        name: ("calibrate", name, "val.safetensors", "--seen-rows", "--out", f"{name}.json", "--json")
        for name in names("calibrators")
        if name not in ("chain", "logit-offset")
    },
    **{
        f"select {name}": (
            "calibrate", "logit-offset", "val.safetensors", "--select", name, "--before", "val.safetensors",
            "--unlabelled", "test.safetensors", "--labelled", "test.safetensors", "--out", f"by-{name}.json", "--json",
        )
        for name in SELECTED
    },
    "applied": ("evaluate", "test.safetensors", "--calibrator", "temperature.json", "--json"),
    **{
        f"large {name}": ("calibrate", name, "large.safetensors", "--seen-rows", "--json")
        for name in ("temperature", "vector", "bias-corrected-temperature")
    },
    "large evaluated": ("evaluate", "large.safetensors", "--json"),
    "listed": ("list", "recipes"),
    "drawn": (
        "predict", "--model", "plain/tests.toys:biasless", *PREDICT[3:], "--split", "val", "--out", "drawn.safetensors",
    ),
}  # fmt: skip
BUDGET = Budget(epochs=3, learning_rate=0.05, batch_size=24, accumulate=2, precision="bf16", optimizer="adamw")


def done(words: tuple[str, ...]) -> dict[str, object]:
    """What a command prints, and its exit code."""
    code, out, err = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as error:
            code = int(error.code or 0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def everything(place: Path) -> None:
    """Every command, in this folder; what each of the processes printed is kept."""
    printed = {}
    for name, words in COMMANDS.items():
        torch.manual_seed(PartialState().process_index)  # of a network that draws its first weights
        printed[name] = done(words)
    (place / f"printed-{PartialState().process_index}.json").write_text(json.dumps(printed))


def network(seed: int = 0) -> "toys.Classifier":
    """A network with dropout and without batch norm."""
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.Dropout(0.2), torch.nn.Linear(9, 5))
    return toys.classifier(seed, module)


def killed(place: Path) -> None:
    """Train, until the second process is killed before a step."""
    with resuming(place / "killed", every=0.0):
        for batch in steps(network(), toys.data(), BUDGET):
            if batch.number == 8 and PartialState().process_index == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            batch.backward(classification(batch))
            batch.step()


def resumed(place: Path) -> None:
    """The same training, resumed and unbroken; and a plain one, to be compared with one process."""
    rank = PartialState().process_index
    with resuming(place / "killed", every=0.0):
        numbers = []
        again = network()
        for batch in steps(again, toys.data(), BUDGET):
            numbers.append(batch.number)
            batch.backward(classification(batch))
            batch.step()
    assert numbers[0] == 6, numbers  # the state at the end of the first epoch, once gradients were whole
    torch.save(again.weights, place / f"resumed-{rank}.pth")
    torch.save(fit(network(), toys.data(), BUDGET).weights, place / f"unbroken-{rank}.pth")
    model = toys.classifier()
    model.module.drop.p = 0.0
    fit(model, toys.data(), replace(BUDGET, precision="no", batch_size=16, optimizer="sgd"), mode="eval")
    torch.save(model.weights, place / f"plain-{rank}.pth")


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    os.chdir(folder)
    sys.path.append(str(Path(__file__).parent.parent))
    # commands close what they open; what was open before they leave open, for the next ones
    state = PartialState(cpu=True) if what == "first" else processes("cpu")
    assert state.num_processes == 2 and state.device.type == "cpu"
    if what == "first":
        everything(folder)
        killed(folder)
    resumed(folder)
    end_together(state)
