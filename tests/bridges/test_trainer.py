"""The callback of transformers' Trainer: what stays, what is measured, and the repair at the end."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from reclaim.bridges.callbacks import trainer_callback
from reclaim.core.errors import BadInput
from reclaim.core.extras import require
from reclaim.repairs.choices import Choices
from reclaim.repairs.models import repair
from tests import toys
from tests.wrapping import bert, quiet, taught, words

transformers: Any = require("transformers", extra="transformers")
TRAIN, HELD_OUT = words(96, 1, (0, 2, 3)), words(120, 2)
SEEN = [0, 2, 3]
CHOICES = Choices(mix=0.6, select="gap-matching")


@pytest.fixture(scope="module")
def pretrained() -> Any:
    return taught(bert(), words(160, 0), steps=30)


def trainer(model: Any, folder: Path, callback: Any, **more: Any) -> Any:
    args: dict[str, Any] = {
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "num_train_epochs": 2,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "per_device_train_batch_size": 16,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "report_to": [],
        "output_dir": str(folder),
        **more,
    }
    rows = args.pop("eval_dataset", HELD_OUT)
    arguments = transformers.TrainingArguments(**args)
    return transformers.Trainer(model, arguments, train_dataset=TRAIN, eval_dataset=rows, callbacks=[callback])


def logits(model: Any, rows: list[dict[str, Any]] = HELD_OUT) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.stack([row["input_ids"] for row in rows])).logits


def labels(rows: list[dict[str, Any]] = HELD_OUT) -> torch.Tensor:
    return torch.stack([row["labels"] for row in rows])


def test_it_keeps_absent_rows_measures_both_groups_and_ends_with_a_repaired_model(pretrained, tmp_path) -> None:
    model = copy.deepcopy(pretrained)
    callback = trainer_callback(model, SEEN, choices=CHOICES, replace=False)
    run = trainer(model, tmp_path, callback)
    run.train()
    for name in ("classifier.weight", "classifier.bias"):
        now, start = model.state_dict()[name], pretrained.state_dict()[name]
        assert torch.equal(now[~toys.SEEN], start[~toys.SEEN]) and not torch.equal(now[toys.SEEN], start[toys.SEEN])

    y, right = labels(), logits(model).argmax(dim=1) == labels()
    last = callback.history[-1]
    assert last.seen == pytest.approx(float(right[toys.SEEN[y]].double().mean()))
    assert last.absent == pytest.approx(float(right[~toys.SEEN[y]].double().mean()))
    assert len(callback.history) == 2 and last.step == 12
    logged = [line for line in run.state.log_history if "eval_loss" in line]
    assert [line["eval_seen_accuracy"] for line in logged] == [one.seen for one in callback.history]
    assert [line["eval_absent_accuracy"] for line in logged] == [one.absent for one in callback.history]

    expected = repair(pretrained, model, DataLoader(HELD_OUT, batch_size=8), CHOICES, seen=SEEN)
    assert toys.same(callback.repaired.model.state_dict(), expected.model.state_dict())
    found = logits(callback.repaired.model).argmax(dim=1) == y
    assert found[~toys.SEEN[y]].double().mean() > last.absent


def test_the_trainers_model_gets_the_repaired_weights_and_saves_them(pretrained, tmp_path) -> None:
    model = copy.deepcopy(pretrained)
    callback = trainer_callback(model, SEEN, DataLoader(HELD_OUT, batch_size=8), choices=CHOICES)
    run = trainer(model, tmp_path, callback, eval_strategy="no")
    run.train()
    assert toys.same(model.state_dict(), callback.repaired.model.state_dict())
    run.save_model(str(tmp_path / "out"))
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(logits(again), logits(callback.repaired.model), rtol=0, atol=0)


def test_what_has_no_labelled_rows_is_not_measured(pretrained, tmp_path) -> None:
    model = copy.deepcopy(pretrained)
    callback = trainer_callback(model, SEEN, choices=CHOICES)
    run = trainer(model, tmp_path, callback, eval_dataset=words(60, 4, (0, 2, 3)))
    run.train()
    assert all(one.absent is None and one.seen is not None for one in callback.history)
    logged = [line for line in run.state.log_history if "eval_loss" in line]
    assert all(line["eval_absent_accuracy"] == "not measured" for line in logged)


def test_measured_numbers_choose_the_best_epoch(pretrained, tmp_path) -> None:
    model = copy.deepcopy(pretrained)
    callback = trainer_callback(model, SEEN, choices=CHOICES, replace=False)
    best = {"metric_for_best_model": "eval_absent_accuracy", "load_best_model_at_end": True, "save_strategy": "epoch"}
    run = trainer(model, tmp_path, callback, **best)
    run.train()
    assert run.state.best_metric == max(one.absent for one in callback.history)


def test_a_run_that_goes_on_is_repaired_against_the_pretrained_model(pretrained, tmp_path) -> None:
    whole = copy.deepcopy(pretrained)
    first = trainer_callback(whole, SEEN, choices=CHOICES, replace=False)
    trainer(whole, tmp_path, first, save_strategy="epoch").train()
    again = copy.deepcopy(pretrained)
    second = trainer_callback(again, SEEN, choices=CHOICES, replace=False)
    run = trainer(again, tmp_path, second, save_strategy="epoch")
    run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert toys.same(again.state_dict(), whole.state_dict())
    assert toys.same(second.repaired.model.state_dict(), first.repaired.model.state_dict())


def test_a_network_with_an_adapter_is_repaired_in_place_and_saved_as_one(pretrained, tmp_path) -> None:
    peft: Any = require("peft", extra="peft")
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], task_type="SEQ_CLS")
    with quiet():
        model = peft.get_peft_model(copy.deepcopy(pretrained), config)
        callback = trainer_callback(model, SEEN, choices=CHOICES)
        run = trainer(model, tmp_path, callback)
        run.train()
    assert isinstance(callback.repaired.model, peft.PeftModel)
    torch.testing.assert_close(logits(model), logits(callback.repaired.model), rtol=0, atol=0)
    with quiet():
        run.save_model(str(tmp_path / "out"))
        again = peft.PeftModel.from_pretrained(copy.deepcopy(pretrained), tmp_path / "out")
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=0)
    saved = again.base_model.model.classifier.modules_to_save["default"].weight
    assert torch.equal(saved[~toys.SEEN], pretrained.classifier.weight[~toys.SEEN])


def test_what_cannot_be_followed_is_refused_before_training(pretrained, tmp_path) -> None:
    model = copy.deepcopy(pretrained)
    with pytest.raises(BadInput, match="the trainer evaluates nothing"):
        trainer(model, tmp_path, trainer_callback(model, SEEN), eval_strategy="no").train()
    with pytest.raises(BadInput, match="another model"):
        trainer(model, tmp_path, trainer_callback(pretrained, SEEN)).train()
    with pytest.raises(BadInput, match="seen"):
        trainer(model, tmp_path, trainer_callback(model, None)).train()
    assert toys.same(model.state_dict(), pretrained.state_dict())
