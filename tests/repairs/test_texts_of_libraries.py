"""A classifier of texts from transformers is tuned, repaired and read by transformers again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from reclaim.data.records import Data, Split
from reclaim.models.directory import load_model, save_model
from reclaim.models.forward import logits_of
from reclaim.repairs.models import repair
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from tests.small_models import CASES, CLASSES, WORDS

BERT = next(case for case in CASES if case.architecture == "BertForSequenceClassification")


def texts(classes: int, count: int, seed: int) -> Split:
    """Sentences in which the word of the class stands often."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    rows = [" ".join(random.permutation([WORDS[4 + y]] * 4 + list(random.choice(WORDS[4:], 3)))) for y in labels]
    return Split(torch.tensor(labels), rows.__getitem__, str)


def test_texts_go_from_tuning_to_a_repaired_directory(tmp_path: Path) -> None:
    BERT.write(tmp_path / "before")
    before = load_model(str(tmp_path / "before"))
    seen = torch.arange(len(CLASSES)) < 4
    whole = Data(CLASSES, {"train": texts(7, 300, 0)}, torch.ones(7, dtype=torch.bool))
    before = fine_tune(before, whole, Budget(epochs=4, learning_rate=0.01, batch_size=16))
    data = Data(CLASSES, {"train": texts(4, 200, 1), "val": texts(4, 80, 2), "test": texts(7, 140, 3)}, seen)
    after = fine_tune(before, data, Budget(epochs=4, learning_rate=0.01, batch_size=16))
    done = repair(before, after, data)
    (tmp_path / "out").mkdir()
    save_model(tmp_path / "out", done.model)
    rows = data.splits["test"]
    x = done.model.inputs(*(rows.read(i) for i in range(len(rows))))
    with torch.no_grad():
        alone = logits_of(BERT.read(tmp_path / "out"), x)
    torch.testing.assert_close(alone, done.repaired.logits, rtol=1e-4, atol=1e-4)
    right = [float((one.logits.argmax(1) == rows.labels).double().mean()) for one in (done.after, done.repaired)]
    assert right[1] > right[0], "the repair answers no more rows than the fine-tuned network"
    kept = {path.name for path in (tmp_path / "before").iterdir()}
    assert kept <= {path.name for path in (tmp_path / "out").iterdir()}
