"""transformers' Trainer, with a callback that keeps absent rows, measures both groups, and ends with a repaired model.

A very small BERT, made here, learns five kinds of made-up sentences and goes on with three of them, in other words.

Run: python examples/trainer_repair.py
"""

import tempfile

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from reclaim import evaluate, trainer_callback

set_seed(0)
random = torch.Generator().manual_seed(0)


def sentences(count: int, kinds: list[int], common: int) -> list[dict[str, torch.Tensor]]:
    """Eight words each, four of which are mostly of its kind; the others are common ones."""
    rows = []
    for i in range(count):
        label = torch.tensor(kinds[i % len(kinds)])
        strays = torch.rand(4, generator=random) < 0.3
        kind = torch.where(strays, torch.randint(0, 5, (4,), generator=random), label)
        own = 20 + 4 * kind + torch.randint(0, 4, (4,), generator=random)
        filler = common + torch.randint(0, 8, (4,), generator=random)
        rows.append({"input_ids": torch.cat([own, filler])[torch.randperm(8, generator=random)], "labels": label})
    return rows


def trainer(rows: list, held_out: list | None, epochs: int, folder: str, *callbacks: TrainerCallback) -> Trainer:
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        learning_rate=3e-3,
        per_device_train_batch_size=16,
        eval_strategy="no" if held_out is None else "epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    return Trainer(model, arguments, train_dataset=rows, eval_dataset=held_out, callbacks=list(callbacks))


model = BertForSequenceClassification(
    BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=8,
        num_labels=5,
    )
)
everything, seen = [0, 1, 2, 3, 4], [0, 2, 3]
with tempfile.TemporaryDirectory() as folder:
    trainer(sentences(400, everything, common=2), None, 12, folder).train()
    callback = trainer_callback(model, seen)
    trainer(sentences(200, seen, common=10), sentences(400, everything, common=10), 4, folder, callback).train()
done = callback.repaired  # and the trainer's model has its weights
for name, snapshot in {"before": done.before, "after": done.after, "repaired": done.repaired}.items():
    found = evaluate(snapshot).accuracy
    print(f"{name:<9} all {found.all:.3f}   seen {found.seen:.3f}   absent {found.absent:.3f}")
