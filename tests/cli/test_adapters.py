"""Folders of adapters, from the command line: as peft wrote them, repaired, and read by peft again."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reclaim.core.extras import require
from reclaim.data.load import load_data
from reclaim.models.directory import load_model
from reclaim.models.predict import predict
from tests.cli.workshop import SEEN

peft: Any = require("peft", extra="peft")


def adapted(root: Path, out: Path, **more: Any) -> Any:
    """An adapter, trained on the target's seen classes and saved by peft; `before` names the base."""
    base, data = load_model(str(root / "before")), load_data(str(root / "target"))
    layers = [name for name, part in base.module.named_modules() if isinstance(part, nn.Conv2d)]
    config = peft.LoraConfig(**{"r": 4, "target_modules": layers, "modules_to_save": [base.head], **more})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.get_peft_model(copy.deepcopy(base.module), config)
        rows = data.seen_only("train")
        x, y = base.inputs(*(rows.read(i) for i in range(len(rows)))), base.columns(data.classes)[rows.labels]
        optimizer = torch.optim.Adam([p for p in wrapped.parameters() if p.requires_grad], lr=0.01)
        for _ in range(15):
            optimizer.zero_grad()
            nn.functional.cross_entropy(wrapped(x), y).backward()
            optimizer.step()
        wrapped.peft_config["default"].base_model_name_or_path = str(root / "before")
        wrapped.eval().save_pretrained(out)
    return wrapped


@pytest.fixture
def place(shop: Path) -> Path:
    adapted(shop, shop / "adapter")
    return shop


CALL = ("repair", "--after", "adapter", "--data", "target", "--seen", ",".join(SEEN), "--mix", "0.5")


def test_an_adapter_is_repaired_and_is_one_again_that_peft_alone_reads(place: Path, reclaim) -> None:
    for name, more in {"named": (), "said": ("--before", "before"), "merged": ("--as", "merged")}.items():
        done = reclaim(*CALL, *more, "--out", name, "--json")
        assert done.code == 0, done.err
    base, data = load_model("before"), load_data("target")
    expected = predict(load_model("merged"), data, "test", features=False).logits
    assert sorted(path.name for path in Path("named").iterdir() if "adapter" in path.name or "model" in path.name) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert Path("merged/model.safetensors").is_file() and not Path("merged/adapter_config.json").exists()
    for name in ("named", "said"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = peft.PeftModel.from_pretrained(copy.deepcopy(base.module), name).eval()
        rows = data.split("test")
        with torch.no_grad():
            z = again(base.inputs(*(rows.read(i) for i in range(len(rows)))))
        torch.testing.assert_close(z[:, base.columns(data.classes)], expected, rtol=1e-3, atol=1e-3)
    record = json.loads(Path("named/run.json").read_text())
    accuracy = {name: record[name]["accuracy"]["all"] for name in ("after", "repaired")}
    assert accuracy["repaired"] > accuracy["after"] - 0.02
    assert json.loads(Path("named/adapter_config.json").read_text())["lora_alpha"] == 4

    done = reclaim("predict", "--model", "named", "--data", "target", "--split", "test", "--out", "rows")
    assert done.code == 0, done.err


def test_what_is_wrong_with_an_adapter_is_one_message_and_no_output(place: Path, reclaim) -> None:
    def refused(*words: str, said: str) -> None:
        done = reclaim(*words, "--out", "out")
        assert done.code == 2 and said in done.err and not Path("out").exists(), done.err
        assert not done.out

    config = Path("adapter/adapter_config.json")
    record = json.loads(config.read_text())
    config.write_text(json.dumps(record | {"base_model_name_or_path": None}))
    refused(*CALL, said="does not say which model its adapter belongs to")
    config.write_text(json.dumps(record | {"base_model_name_or_path": "/nowhere/base"}))
    refused(*CALL, said="belongs to /nowhere/base, and that is not there")
    config.write_text(json.dumps(record | {"peft_type": "WIZARD"}))
    refused(*CALL, "--before", "before", said="names a kind of adapter that peft does not know: 'WIZARD'")
    config.write_text(json.dumps(record | {"init_lora_weights": "pissa"}))
    refused(*CALL, "--before", "before", said="changed the weights of the base")
    config.write_text(json.dumps([1]))
    refused(*CALL, "--before", "before", said="is no record of an adapter")
    config.write_text(json.dumps(record))
    file = Path("adapter/adapter_model.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(*CALL, "--before", "before", said="the adapter in adapter does not fit")
    file.unlink()
    refused(*CALL, "--before", "before", said="holds no weights of an adapter")
    file.write_bytes(whole)
    refused("repair", "--after", "after", "--data", "target", said="missing: --before")
    pair = ("repair", "--before", "before", "--after", "after", "--data", "target")
    refused(*pair, "--result", "adapter", said="the fine-tuned model did not come as one")
    refused(*pair, "--initial", "adapter", said="--initial is only for adapters")


def test_an_adapter_without_a_scale_is_merged_and_said_so(shop: Path, reclaim) -> None:
    adapted(shop, shop / "adapter", use_dora=True)
    done = reclaim(*CALL, "--out", "out")
    assert done.code == 0 and "peft knows no scale for an adapter of the kind DoRA" in done.err
    assert Path("out/model.safetensors").is_file()
