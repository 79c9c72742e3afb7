"""One network that peft has wrapped is a pair: scaled adapters, merged weights, and what is refused by name."""

import copy
import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from reclaim.core.errors import BadInput, BadKind
from reclaim.core.extras import require
from reclaim.models.adapter_pairs import taken_apart
from reclaim.models.adapters import as_peft
from reclaim.models.merges.interpolation import interpolation
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from tests import toys
from tests.wrapping import Plain, quiet, rows, wrapped

peft: Any = require("peft", extra="peft")
ROWS = rows()
X = ROWS[0]
SEEN = [0, 2, 3]
CHOICES = Choices(mix=0.4, select="gap-matching")
TARGETS = "first|second"


def lora(**more: Any) -> Any:
    return peft.LoraConfig(**{"r": 4, "target_modules": TARGETS, "modules_to_save": ["head"], **more})


@pytest.fixture(scope="module")
def pair() -> tuple[Any, nn.Module]:
    return wrapped(lora(lora_alpha=8))


def logits(net: nn.Module, x: Any = X) -> torch.Tensor:
    with torch.no_grad():
        return net.eval()(x)


def apart(first: nn.Module, second: nn.Module) -> float:
    """The largest difference between two networks' logits, as a share of the largest logit."""
    expected = logits(second)
    return float((logits(first) - expected).abs().max() / expected.abs().max())


def test_taken_apart_it_answers_as_with_the_adapter_off_and_on(pair) -> None:
    model, base = pair
    kept = toys.copied(model.state_dict())
    off, on, _ = taken_apart(model, X[:2])
    assert toys.same(off.state_dict(), base.state_dict())
    torch.testing.assert_close(logits(on), logits(model), rtol=1e-5, atol=1e-5)
    assert type(off) is type(on) is Plain and toys.same(model.state_dict(), kept)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    "more", [{}, {"use_rslora": True}, {"alpha_pattern": {"second": 3}}, {"lora_bias": True}], ids=str
)
def test_an_adapter_at_an_alpha_is_the_weights_merged_at_that_alpha(alpha: float, more: dict[str, Any]) -> None:
    model, base = wrapped(lora(lora_alpha=3, **more))
    off, on, adapter = taken_apart(model, X[:2])
    theta = interpolation(off.state_dict(), on.state_dict(), alpha=alpha)
    merged = copy.deepcopy(base)
    merged.load_state_dict(theta)
    scaled = as_peft(replace(adapter, alpha=alpha), "head", theta)
    assert apart(scaled, merged) < 1e-6
    with quiet():
        before, after = (peft.get_peft_model_state_dict(one) for one in (model, scaled))
    for key, tensor in before.items():
        assert "lora_" not in key or torch.equal(tensor, after[key]), "the adapter's own weights stay"


def test_one_wrapped_network_is_repaired_and_is_an_adapter_again(pair, tmp_path) -> None:
    model, base = pair
    kept = toys.copied(model.state_dict())
    done = repair(model, DataLoader(TensorDataset(*ROWS), batch_size=32), choices=CHOICES, seen=SEEN)
    assert isinstance(done.model, peft.PeftModel) and done.alpha == 0.4
    assert done.model.peft_config["default"].lora_alpha == pytest.approx(0.4 * 8)
    y = ROWS[1]
    answers = logits(done.model)
    for row, label in zip(done.repaired.logits, done.repaired.labels, strict=True):
        same = (answers - row).abs().amax(dim=1) < 1e-5
        assert bool((y[same] == label).any())
    assert toys.same(model.state_dict(), kept)

    done.model.save_pretrained(tmp_path)  # and peft alone reads it back onto the base
    with quiet():
        again = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path)
    torch.testing.assert_close(logits(again), answers, rtol=0, atol=0)


def test_merged_it_is_the_base_with_the_same_answers(pair) -> None:
    model, base = pair
    adapter = repair(model, ROWS, choices=CHOICES, seen=SEEN)
    merged = repair(model, ROWS, choices=CHOICES, seen=SEEN, result="merged")
    assert type(merged.model) is Plain and list(merged.model.state_dict()) == list(base.state_dict())
    torch.testing.assert_close(logits(merged.model), logits(adapter.model), rtol=1e-5, atol=1e-5)
    assert merged.offset == adapter.offset


def test_a_wrapped_network_and_its_base_are_the_same_pair(pair) -> None:
    model, base = pair
    expected = repair(model, ROWS, choices=CHOICES, seen=SEEN)
    for before in (base, model, model.get_base_model()):
        done = repair(before, model, ROWS, CHOICES, seen=SEEN)
        assert apart(done.model, expected.model) < 1e-6
        assert isinstance(done.model, peft.PeftModel)


def test_the_offset_lies_in_a_head_that_is_saved_though_it_was_not_trained() -> None:
    model, base = wrapped(lora(modules_to_save=None, r=2))
    done = repair(model, ROWS, choices=CHOICES, seen=SEEN)
    saved = [part for part in done.model.modules() if isinstance(part, peft.utils.ModulesToSaveWrapper)]
    assert len(saved) == 1
    change = saved[0].modules_to_save["default"].bias - base.head.bias
    shifts = done.offset.affine(done.repaired.classes).shift
    torch.testing.assert_close(change.detach(), shifts.to(change), rtol=1e-5, atol=1e-5)
    assert toys.same(done.model.get_base_model().head.original_module.state_dict(), base.head.state_dict())


KINDS = {
    "DoRA": lambda: lora(use_dora=True),
    "OFT": lambda: peft.OFTConfig(target_modules=TARGETS, oft_block_size=0, r=1, modules_to_save=["head"]),
    "OSF": lambda: peft.OSFConfig(target_modules=["second"], modules_to_save=["head"]),
    "IA3": lambda: peft.IA3Config(target_modules=TARGETS, feedforward_modules="second", modules_to_save=["head"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_scale_is_mixed_as_merged_weights_which_is_said(kind: str, caplog) -> None:
    model, _ = wrapped(KINDS[kind]())
    with caplog.at_level(logging.WARNING):
        done = repair(model, ROWS, choices=CHOICES, seen=SEEN)
    assert type(done.model) is Plain and f"no scale for an adapter of the kind {kind}" in caplog.text
    off, on, _ = taken_apart(model, X[:2])
    mixed = interpolation(off.state_dict(), on.state_dict(), alpha=0.4)
    for name, tensor in done.model.state_dict().items():
        if not name.startswith("head"):
            torch.testing.assert_close(tensor, mixed[name], rtol=1e-5, atol=1e-6)
    with pytest.raises(BadInput, match=f"cannot be an adapter: peft knows no scale for an adapter of the kind {kind}"):
        repair(model, ROWS, choices=CHOICES, seen=SEEN, result="adapter")


@pytest.mark.parametrize("started", ["pissa", "olora"])
def test_what_changed_its_base_is_refused_by_name_or_converted_with_the_adapter_it_began_with(
    started: str, tmp_path
) -> None:
    config = lora(init_lora_weights=started, lora_alpha=4, r=2)
    first, base = wrapped(copy.deepcopy(config), steps=0)
    with quiet():
        first.save_pretrained(tmp_path / "start")
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "start").iterdir())
    model, _ = wrapped(config)
    with pytest.raises(BadInput, match=f"began as '{started}' changed the weights of the base"):
        repair(model, ROWS, choices=CHOICES, seen=SEEN)
    kept = toys.copied(model.state_dict())
    done = repair(model, ROWS, choices=CHOICES, seen=SEEN, initial=tmp_path / "start")
    assert toys.same(model.state_dict(), kept)
    assert before == sorted((path.name, path.read_bytes()) for path in (tmp_path / "start").iterdir())
    off, on, _ = taken_apart(model, X[:2], initial=tmp_path / "start")
    torch.testing.assert_close(logits(off), logits(base), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits(on), logits(model), rtol=1e-4, atol=1e-5)
    done.model.save_pretrained(tmp_path / "out")
    with quiet():
        again = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "out")
    torch.testing.assert_close(logits(again), logits(done.model), rtol=1e-4, atol=1e-4)
    with pytest.raises(BadInput, match="cannot be converted with the adapter in"):
        repair(model, ROWS, choices=CHOICES, seen=SEEN, initial=tmp_path / "nowhere")


class Reflects(nn.Module):
    """A convolution that peft merges to something else."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(1, 8, 3, padding=1, padding_mode="reflect")
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.first(x[:, None])).mean(dim=2))


def test_what_peft_merges_to_something_else_is_refused() -> None:
    model, _ = wrapped(peft.LoraConfig(r=4, target_modules=["first"], modules_to_save=["head"]), Reflects())
    with pytest.raises(BadInput, match=r"a LoRA adapter, merged, answers other logits than .* peft wrapped"):
        repair(model, ROWS, choices=CHOICES, seen=SEEN)


def test_other_things_are_refused_by_name(pair) -> None:
    model, base = pair
    biased, _ = wrapped(lora(bias="lora_only"))
    with pytest.raises(BadInput, match=r"trained biases of the base too.*\n.*repair\(before, adapted, data\)"):
        repair(biased, ROWS, choices=CHOICES, seen=SEEN)
    with pytest.raises(BadInput, match="the head 'head' has no bias, and an adapter cannot bring one"):
        repair(wrapped(lora(), Plain(bias=False))[0], ROWS, choices=CHOICES, seen=SEEN, result="adapter")
    with pytest.raises(BadInput, match="the head 'head' has an adapter itself"):
        whole = lora(target_modules="first|head", modules_to_save=None)
        repair(wrapped(whole)[0], ROWS, choices=CHOICES, seen=SEEN, result="adapter")
    with pytest.raises(BadInput, match="the fine-tuned model did not come as one"):
        repair(base, Plain(seed=1), ROWS, choices=CHOICES, seen=SEEN, result="adapter")
    with pytest.raises(BadKind, match="the other way round"):
        repair(model, base, ROWS, CHOICES, seen=SEEN)
    with pytest.raises(BadKind, match="two modules and a loader"):
        repair(base, ROWS, seen=SEEN)
    merged = copy.deepcopy(model)
    merged.merge_adapter()
    with pytest.raises(BadInput, match="the adapter 'default' is merged into the weights"):
        repair(merged, ROWS, choices=CHOICES, seen=SEEN)
    off = copy.deepcopy(model)
    off.base_model.disable_adapter_layers()
    with pytest.raises(BadInput, match="the adapter 'default' is switched off"):
        repair(off, ROWS, choices=CHOICES, seen=SEEN)


def test_biases_of_the_base_are_mixed_where_the_base_is_given(caplog) -> None:
    model, base = wrapped(lora(bias="lora_only"))
    with caplog.at_level(logging.WARNING):
        done = repair(base, model, ROWS, CHOICES, seen=SEEN)
    assert "has biases of the base too" in caplog.text and type(done.model) is Plain
    on = taken_apart(model, X[:2], base=base)[1]
    expected = torch.lerp(base.first.bias, on.first.bias, 0.4)
    torch.testing.assert_close(done.model.first.bias, expected, rtol=1e-5, atol=1e-6)
