"""Several processes train the network that one does, and those that do not find each other stop."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.training.budget import Budget
from reclaim.training.fit import classification, fit, steps
from reclaim.training.processes import processes
from tests import toys
from tests.pretended import pretended

TWO = """
import sys, torch
from accelerate import PartialState
from reclaim.training.budget import Budget
from reclaim.training.fit import fit
from reclaim.training.processes import end_together, processes
from tests import toys
model = toys.classifier()
model.module.drop.p = 0.0
fit(model, toys.data(), Budget(epochs=2, learning_rate=0.05, batch_size=16, accumulate=2), mode="eval")
assert PartialState().num_processes == 2
torch.save(model.weights, f"{sys.argv[1]}-{PartialState().process_index}.pth")
end_together(processes())
"""


def launched(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parent.parent.parent)
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.parametrize("said", ["true", "false"])
def test_two_processes_train_the_network_that_one_does(tmp_path: Path, said: str) -> None:
    """Whether or not the launcher's environment says that they run on CPUs."""
    (tmp_path / "two.py").write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = launched([*launch, str(tmp_path / "two.py"), str(tmp_path / "two")], ACCELERATE_USE_CPU=said)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"two-{rank}.pth", weights_only=True) for rank in range(2))
    assert toys.same(first, second)
    model = toys.classifier()
    model.module.drop.p = 0.0
    fit(model, toys.data(), Budget(epochs=2, learning_rate=0.05, batch_size=16, accumulate=2), mode="eval")
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, model.weights[name], msg=name)


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
from reclaim.training.processes import processes
processes()
"""


def test_processes_that_do_not_find_each_other_stop_with_one_message() -> None:
    done = launched([sys.executable, "-c", ALONE])
    assert done.returncode == 1
    assert "the launcher started 2 processes, but this one finds 1" in done.stderr.splitlines()[-2]
