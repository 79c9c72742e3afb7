"""transformers: which networks it is asked for, what its processors and tokenizers say, and what stays as it came."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reclaim.core.affine import Affine
from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.data.inputs.processed import Processed
from reclaim.data.inputs.text import Texts
from reclaim.models.directory import check_takes_offset, load_model, save_model
from reclaim.models.forward import logits_of
from reclaim.models.head import fold
from reclaim.models.pairs import paired
from reclaim.models.transformers_inputs import quiet
from tests.small_models import CASES, CLASSES, TEXT, picture, sentence, stirred, tokenizer

library = require("transformers", "transformers")
VIT = next(case for case in CASES if case.architecture == "ViTForImageClassification")
BERT = next(case for case in CASES if case.architecture == "BertForSequenceClassification")


def changed(folder: Path, file: str = "config.json", **values: Any) -> Path:
    """The folder with other values in one of its records; None leaves a key out."""
    record = json.loads((folder / file).read_text()) | values
    record = {key: value for key, value in record.items() if value is not None}
    (folder / file).write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architectures": ["YolosForObjectDetection"]}, "is a detector (YolosForObjectDetection)"),
        ({"architectures": ["LlamaForCausalLM"]}, "is a causal language model"),
        ({"architectures": ["GPT2LMHeadModel"]}, "is a causal language model"),
        ({"architectures": ["BertForTokenClassification"]}, "labels each token"),
        ({"architectures": ["BertModel"]}, "a network without a head"),
        ({"architectures": ["Wizard"]}, "no classifier that is known (Wizard)"),
        ({"architectures": None}, "does not say what network this is"),
        ({"problem_type": "multi_label_classification"}, "several labels at once"),
        ({"problem_type": "regression"}, "answers a number"),
        ({"id2label": {"0": "score"}, "label2id": {"score": 0}}, "answers a number"),
        (
            {"architectures": ["OwnNet"], "auto_map": {"AutoModelForSequenceClassification": "modeling.OwnNet"}},
            "wants to run code that lies beside it (OwnNet)",
        ),
        ({"model_type": "wizard"}, "transformers cannot read its config"),
        ({"hidden_size": 99}, "transformers cannot read its weights"),
        ({"num_hidden_layers": 3}, "lacks weights of BertForSequenceClassification: bert.encoder.layer.2"),
    ],
)
def test_a_model_for_another_task_is_refused_by_name_of_what_it_is(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    BERT.write(tmp_path)
    with pytest.raises(BadInput) as caught:
        load_model(str(changed(tmp_path, **values)))
    assert message in str(caught.value)


def test_code_beside_a_model_is_not_run(tmp_path: Path) -> None:
    BERT.write(tmp_path)
    (tmp_path / "modeling.py").write_text("raise SystemExit('it ran')")
    auto = {"AutoConfig": "modeling.Own", "AutoModelForSequenceClassification": "modeling.Own"}
    changed(tmp_path, auto_map=auto, model_type="own")
    with pytest.raises(BadInput, match="runs none from there"):
        load_model(str(tmp_path))


def test_numbered_labels_are_no_names_and_those_of_the_data_are_written(tmp_path: Path) -> None:
    VIT.write(tmp_path / "in")
    labels = {str(i): f"LABEL_{i}" for i in range(7)}
    model = load_model(str(changed(tmp_path / "in", id2label=labels, label2id={n: int(i) for i, n in labels.items()})))
    assert model.classes == ()
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", model.bind(CLASSES))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["id2label"]["2"] == "cat"
    assert load_model(str(tmp_path / "in"), classes=CLASSES).classes == CLASSES


def test_a_config_that_names_too_few_outputs_is_left_aside(tmp_path: Path) -> None:
    VIT.write(tmp_path)
    model = load_model(str(changed(tmp_path, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}, num_labels=7)))
    assert model.classes == () and model.num_outputs == 7


def test_the_form_of_a_processor_is_a_part_of_what_it_is(tmp_path: Path) -> None:
    VIT.write(tmp_path)
    model = load_model(str(tmp_path))
    assert isinstance(model.preprocess, Processed)
    assert model.preprocess.says.startswith("ViTImageProcessor {")
    processor = library.AutoImageProcessor.from_pretrained(tmp_path)
    expected = processor(picture(3), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(model.preprocess(picture(3))["pixel_values"], expected)
    assert json.loads(model.preprocess.files["preprocessor_config.json"])["size"] == {"height": 32, "width": 32}


def test_two_processors_for_one_pair_show_both_and_one_may_be_chosen(tmp_path: Path) -> None:
    for name in ("before", "after"):
        VIT.write(tmp_path / name)
    changed(tmp_path / "after", "preprocessor_config.json", image_mean=[0.1, 0.2, 0.3])
    before, after = (load_model(str(tmp_path / name)) for name in ("before", "after"))
    with pytest.raises(BadInput, match=r"before: .*ViT.*0\.5, 0\.5, 0\.5.*\n.*after: .*ViT.*0\.1, 0\.2, 0\.3"):
        paired(before, after)
    taken = paired(before, after, "before")[1]
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", taken)
    assert load_model(str(tmp_path / "out")).preprocess == before.preprocess


def test_a_text_gets_the_ids_that_the_tokenizer_gives_and_is_cut_where_the_network_ends(tmp_path: Path) -> None:
    BERT.write(tmp_path)
    model = load_model(str(tmp_path))
    assert isinstance(model.preprocess, Texts)
    texts = [sentence(seed) for seed in range(5)]
    expected = tokenizer()(texts, truncation=True, max_length=12, padding=True, return_tensors="pt")
    made = model.inputs(*texts)
    assert torch.equal(made["input_ids"], expected["input_ids"])
    assert torch.equal(made["attention_mask"], expected["attention_mask"])
    assert max(len(text.split()) for text in texts) > 12
    assert model.preprocess == load_model(str(tmp_path)).preprocess


def test_positions_that_begin_after_the_padding_are_not_given_away(tmp_path: Path) -> None:
    """RoBERTa: of 16 positions 15 are for tokens, and a longer text would reach past the table."""
    case = next(case for case in CASES if case.architecture == "RobertaForSequenceClassification")
    case.write(tmp_path)
    tokenizer(10**30).save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    x = model.inputs(" ".join(["cat"] * 40))
    assert x["input_ids"].shape == (1, 15) and logits_of(model.module, x).isfinite().all()


def test_a_tokenizer_that_fills_in_front_does_so_here(tmp_path: Path) -> None:
    BERT.write(tmp_path)
    tokenizer(side="left").save_pretrained(tmp_path)
    assert load_model(str(tmp_path)).inputs("the cat", "the cat sat")["input_ids"][0, 0] == 0


def test_half_precision_comes_back_as_it_came(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    VIT.write(tmp_path / "in")
    with quiet():
        half = library.ViTForImageClassification.from_pretrained(tmp_path / "in").to(torch.bfloat16)
        half.save_pretrained(tmp_path / "in")
    model = load_model(str(tmp_path / "in"))
    assert next(model.module.parameters()).dtype == torch.float32
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", model)
    with quiet():
        back = library.ViTForImageClassification.from_pretrained(tmp_path / "out")
    assert back.dtype == torch.bfloat16
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in half.state_dict().items())


def test_a_head_without_a_bias_is_refused_before_the_work(tmp_path: Path) -> None:
    torch.manual_seed(0)
    numbers = {"vocab_size": TEXT["vocab_size"], "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
    config = library.GPT2Config(**numbers, pad_token_id=0, num_labels=7, bos_token_id=1, eos_token_id=1)
    network = stirred(library.GPT2ForSequenceClassification(config))
    with quiet():
        network.save_pretrained(tmp_path)
        tokenizer(side="left").save_pretrained(tmp_path)
    model = load_model(str(tmp_path))
    assert model.head == "score"
    with pytest.raises(BadInput, match="has no bias, and transformers would not read one"):
        check_takes_offset(model)
    shift = torch.arange(7.0)
    folded, x = fold(model, Affine(torch.ones(7), shift)), model.inputs(sentence(1), sentence(2))
    torch.testing.assert_close(logits_of(folded.module, x), logits_of(model.module, x) + shift)
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match=r"would not read weights that .* has not: score\.bias"):
        save_model(tmp_path / "out", folded)


def test_without_a_processor_the_guess_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    VIT.write(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    model = load_model(str(tmp_path))
    assert model.images.crop == 32 and not model.recorded
    assert "it is guessed that images of 32 pixels" in caplog.text


def test_weights_in_a_pickle_that_would_run_code_are_refused(tmp_path: Path) -> None:
    VIT.write(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"classifier.weight": Path("somewhere")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="transformers cannot read its weights"):
        load_model(str(tmp_path))


def test_a_name_that_is_not_here_says_how_a_folder_is_named() -> None:
    with pytest.raises(BadInput, match=r"HF_HUB_OFFLINE(?s:.)*save_pretrained wrote"):
        load_model("transformers/somebody/wizard")


def test_a_tokenizer_that_is_missing_is_named(tmp_path: Path) -> None:
    BERT.write(tmp_path)
    for file in tmp_path.glob("token*"):
        file.unlink()
    with pytest.raises(BadInput, match="has no tokenizer"):
        load_model(str(tmp_path))


def test_a_directory_of_ours_and_theirs_keeps_what_only_we_know(tmp_path: Path) -> None:
    VIT.write(tmp_path / "in")
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", replace(load_model(str(tmp_path / "in")), seen=CLASSES[:3]))
    assert load_model(str(tmp_path / "out")).seen == CLASSES[:3]
