"""Several processes train the network that one does, and those that do not find each other stop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reclaim.core.errors import BadInput
from reclaim.core.several import processes
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from tests import toys
from tests.pretended import pretended


def launched(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parent.parent.parent)
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_a_process_trains_on_exactly_the_device_that_it_is_told_whichever_it_had_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RECLAIM_DEVICE")
    with pretended(cards=2):
        for given, taken in [("cuda:1", "cuda:1"), ("cpu", "cpu"), ("auto", "cuda:0"), ("cuda", "cuda:0")] * 2:
            model = toys.classifier()
            for batch in steps(model, toys.data(), Budget(steps=2, device=given)):
                assert str(batch.y.device) == str(batch.logits.device) == taken
                batch.backward(classification(batch))
                batch.step()
            assert model.last_layer.weight.device.type == "cpu" and str(processes(given).device) == taken
    with pytest.raises(BadInput, match=r"no device 'cuda:7' here; there are: cpu"):
        fit(toys.classifier(), toys.data(), Budget(device="cuda:7"))


def test_auto_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended(cards=2):
        for said in ("cpu", "cuda:1"):
            monkeypatch.setenv("RECLAIM_DEVICE", said)
            assert str(processes("auto").device) == said
        monkeypatch.setenv("RECLAIM_DEVICE", "tpu")
        with pytest.raises(BadInput, match="given: tpu"):
            processes("auto")
        assert str(processes("cuda:0").device) == "cuda:0"


def test_several_processes_are_not_given_one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pretended(cards=2),
        pytest.raises(BadInput, match=r"(?s)started 2 processes, and all .* 'cuda:1'.* device='cuda'"),
    ):
        processes("cuda:1")


def test_half_precision_that_a_cpu_would_not_train_in_is_refused() -> None:
    with pytest.raises(BadInput, match="a CPU does not train in half precision of the kind fp16"):
        fit(toys.classifier(), toys.data(), Budget(device="cpu", precision="fp16"))


ALONE = """
from accelerate import PartialState
PartialState()  # without a launcher's variables: alone, and so it stays
import os
os.environ["WORLD_SIZE"] = "2"
from reclaim.core.several import processes
processes()
"""


def test_processes_that_do_not_find_each_other_stop_with_one_message() -> None:
    done = launched([sys.executable, "-c", ALONE])
    assert done.returncode == 1
    assert "the launcher started 2 processes, but this one finds 1" in done.stderr.splitlines()[-2]


def test_a_launcher_that_was_asked_for_several_and_started_one_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`accelerate launch --cpu --num_processes 2` leaves these variables, and no number of processes."""
    processes("cpu")
    assert not caplog.messages
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert processes("cpu").num_processes == 1
    assert caplog.messages[0].startswith("`accelerate launch` was asked for several processes and started one")
