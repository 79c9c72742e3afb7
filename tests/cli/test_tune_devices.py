"""Fine-tuning by command, on the device that a flag names."""

import json
from pathlib import Path

import torch

from reclaim.models.directory import load_model

TUNE = (
    "tune",
    "lp-ft",
    "--model",
    "before",
    "--data",
    "target",
    "--epochs",
    2,
    "--learning-rate",
    0.02,
    "--batch-size",
    16,
)


def test_the_record_says_where_it_was_and_the_weights_are_those_of_a_cpu(
    shop: Path, reclaim, device: torch.device
) -> None:
    for name in ("cpu", "cuda"):
        done = reclaim(*TUNE, "--out", name, "--device", name)
        assert done.code == 0, done.err
    records = [json.loads(Path(name, "run.json").read_text()) for name in ("cpu", "cuda")]
    assert [record["device"] for record in records] == ["cpu", str(device)]
    assert [record["budget"]["device"] for record in records] == ["cpu", "cuda"]
    first, second = (load_model(name).weights for name in ("cpu", "cuda"))
    for key, tensor in first.items():
        torch.testing.assert_close(second[key], tensor, rtol=1e-3, atol=1e-4, msg=key)


def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(reclaim) -> None:
    for given, message in [
        ("cuda:97", "there is no device 'cuda:97' here; there are: cpu"),
        ("mps", "there is no device 'mps' here; there are: cpu"),
        ("gpu", "the device is auto, cpu, cuda, cuda:0, cuda:1, …, or mps; given: gpu"),
    ]:
        done = reclaim(
            "tune", "fine-tune", "--model", "nowhere", "--data", "nowhere", "--out", "out", "--device", given
        )
        assert done.code == 2 and message in done.err and not done.out
