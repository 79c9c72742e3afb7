"""Our own networks by name, and by the name they had before."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.models.checkpoint import save_weights
from reclaim.models.directory import load_model, save_model
from reclaim.models.networks import FACTORIES, digits_cnn, resnet20

FORMERLY = "plain/reclaim.networks:"


@pytest.mark.parametrize(("name", "head"), [("resnet20", "linear"), ("resnet32", "linear"), ("digits_cnn", "8")])
def test_each_network_is_found_by_both_names_with_its_head(name: str, head: str) -> None:
    new, old = load_model(f"reclaim/{name}"), load_model(FORMERLY + name)
    assert new.head == old.head == head and not new.guessed and new.preprocess == old.preprocess
    assert str(new.module) == str(old.module) and (new.library, new.name) == ("reclaim", name)


def test_a_checkpoint_answers_the_same_by_both_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(tmp_path / "w.safetensors", resnet20(7).state_dict())
    x = torch.randn(2, 3, 32, 32)
    new, old = (load_model(f"{library}resnet20@{tmp_path / 'w.safetensors'}") for library in ("reclaim/", FORMERLY))
    assert new.num_outputs == 7 and torch.equal(new.module.eval()(x), old.module.eval()(x))


def test_a_directory_of_before_is_read(tmp_path: Path) -> None:
    """Its file says library plain, the module of before, and no head."""
    made = replace(load_model(FORMERLY + "digits_cnn"), classes=tuple("0123456789"))
    save_model(tmp_path, made)
    about = json.loads((tmp_path / "reclaim.json").read_text())
    assert (about["library"], about["name"], about.pop("head")) == ("plain", "reclaim.networks:digits_cnn", "8")
    (tmp_path / "reclaim.json").write_text(json.dumps(about))
    back = load_model(str(tmp_path))
    assert (back.head, back.classes, back.name) == ("8", made.classes, made.name)


def test_a_directory_of_now_needs_no_name(tmp_path: Path) -> None:
    made = replace(load_model("reclaim/digits_cnn"), classes=tuple("0123456789"))
    save_model(tmp_path, made)
    back = load_model(str(tmp_path))
    assert (back.library, back.name, back.head) == ("reclaim", "digits_cnn", "8")


def test_a_head_on_record_that_the_network_lacks_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, replace(load_model("reclaim/digits_cnn"), classes=tuple("0123456789"), head="7"))
    with pytest.raises(BadInput, match="called '7'; there are: 6, 8"):
        load_model(str(tmp_path))
    assert load_model(f"reclaim/digits_cnn@{tmp_path}", head="8").head == "8"


def test_an_unknown_name_lists_the_networks() -> None:
    with pytest.raises(BadInput, match=r"no network of Reclaim called 'resnet2'; there are: digits_cnn, resnet20"):
        load_model("reclaim/resnet2")
    assert FACTORIES["digits_cnn"] is digits_cnn
