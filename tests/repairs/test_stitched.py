"""Heads that differ: what is joined by name, what is chosen, what is refused, and that it is the same job as before."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from reclaim.core.errors import BadInput
from reclaim.data.records import Data
from reclaim.models.classifier import Classifier
from reclaim.models.directory import load_model, save_model
from reclaim.models.predict import predict
from reclaim.models.union import stitched, union_of, with_rows
from reclaim.repairs.choices import BY_RETRAINING, Choices
from reclaim.repairs.models import repair
from reclaim.repairs.stitching import scale_between
from reclaim.report.evaluate import evaluate
from reclaim.report.story import sentences
from reclaim.training.recipes.fine_tune import fine_tune
from tests import toys
from tests.repairs.conftest import BUDGET, TARGET
from tests.repairs.test_modules import ROWS

OWN = ("ant", "cat", "dog")
UNION = union_of(toys.CLASSES, OWN, OWN)


def cut(model: Classifier, names: tuple[str, ...]) -> Classifier:
    """The same model with the rows of these classes alone, as its own head."""
    rows, layer = model.columns(names), model.last_layer
    return replace(with_rows(model, layer.weight[rows], layer.bias[rows]), classes=names)


def times(model: Classifier, factor: float) -> Classifier:
    layer = model.last_layer
    return replace(with_rows(model, factor * layer.weight, factor * layer.bias), classes=model.classes)


@pytest.fixture(scope="module")
def fresh(pair) -> tuple[Classifier, Classifier]:
    """A pretrained network, and the same fine-tuned with a new head for three of its classes."""
    before, _ = pair
    torch.manual_seed(5)
    start = replace(with_rows(before, 0.3 * torch.randn(3, 11), torch.zeros(3)), classes=OWN)
    own = {name: _only(TARGET, name) for name in ("train",)}
    return before, fine_tune(start, Data(OWN, own, torch.ones(3, dtype=torch.bool), "toy"), BUDGET)


def _only(data: Data, name: str):
    rows = data.seen_only(name)
    where = torch.tensor([OWN.index(c) if c in OWN else -1 for c in data.classes])
    return replace(rows, labels=where[rows.labels])


def z(model: Classifier, data: Data = TARGET) -> torch.Tensor:
    return predict(model, data, "test", features=False).logits


# --- laws


def test_with_rows_that_were_kept_it_is_the_repair_of_the_kept_head(pair) -> None:
    before, after = pair
    joined = stitched(before, cut(after, OWN), UNION, alpha=1.0)
    kept = after.weights
    kept["head.weight"][~toys.SEEN] = before.weights["head.weight"][~toys.SEEN]
    kept["head.bias"][~toys.SEEN] = before.weights["head.bias"][~toys.SEEN]
    assert toys.same(joined.weights, after.with_weights(kept).weights) and joined.classes == toys.CLASSES


def test_alpha_0_leaves_absent_logits_as_they_were_and_alpha_1_the_tuned_ones(fresh) -> None:
    before, after = fresh
    start, end = (stitched(before, after, UNION, alpha=alpha) for alpha in (0.0, 1.0))
    assert torch.equal(z(start)[:, ~toys.SEEN], z(before)[:, ~toys.SEEN])
    torch.testing.assert_close(z(end)[:, toys.SEEN], z(end.reordered(toys.CLASSES))[:, toys.SEEN])
    own = replace(TARGET, splits={"test": _only(TARGET, "test")}, classes=OWN, seen=torch.ones(3, dtype=torch.bool))
    seen = toys.SEEN[TARGET.split("test").labels]
    torch.testing.assert_close(z(end)[seen][:, toys.SEEN], z(after, own), rtol=1e-5, atol=1e-5)


def test_folding_the_offset_and_the_scale_is_applying_them(fresh) -> None:
    plain = stitched(*fresh, UNION, alpha=0.4)
    made = stitched(*fresh, UNION, alpha=0.4, scale=0.3, offset=-1.5)
    expected = z(plain) * torch.where(toys.SEEN, 0.3, 1.0) - 1.5 * ~toys.SEEN
    torch.testing.assert_close(z(made), expected, rtol=1e-5, atol=1e-5)


def test_the_scale_is_found_again() -> None:
    ours = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    moved = ours / 0.37 + 5 + torch.arange(40.0)[:, None]
    assert scale_between(ours, moved) == pytest.approx(0.37, rel=1e-5)


def test_another_scale_of_the_fresh_head_changes_nothing(fresh) -> None:
    before, after = fresh
    one, other = repair(before, after, TARGET), repair(before, times(after, 8.0), TARGET)
    assert other.stitch.scale == pytest.approx(one.stitch.scale / 8) and other.alpha == one.alpha
    assert other.offset.offset == pytest.approx(one.offset.offset, abs=1e-3)
    torch.testing.assert_close(other.repaired.logits, one.repaired.logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("which", ["before", "after"])
def test_classes_in_another_order_change_nothing(fresh, which: str) -> None:
    before, after = fresh
    turned = before.reordered(("elk", "cat", "bee", "ant", "dog")), after.reordered(("dog", "ant", "cat"))
    expected = repair(before, after, TARGET)
    done = repair(turned[0], after, TARGET) if which == "before" else repair(before, turned[1], TARGET)
    assert done.alpha == expected.alpha and done.offset.offset == pytest.approx(expected.offset.offset, abs=1e-4)
    torch.testing.assert_close(z(done.model), z(expected.model), rtol=1e-4, atol=1e-4)


def test_no_example_of_an_absent_class_is_read_to_choose(fresh) -> None:
    split = TARGET.split("val")

    def read(i: int) -> np.ndarray:
        assert bool(toys.SEEN[split.labels[i]]), "an example of an absent class was read"
        return split.read(i)

    guarded = replace(TARGET, splits=TARGET.splits | {"val": replace(split, read=read)})
    assert repair(*fresh, guarded).offset.offset == repair(*fresh, TARGET).offset.offset


# --- the job


def test_it_beats_the_fine_tuned_model_and_the_joined_heads_and_answers_what_it_reports(fresh, caplog) -> None:
    done = repair(*fresh, TARGET, Choices(prefer="balanced"))
    others = (evaluate(rows).accuracy.all for rows in (done.after, done.stitch.plain))
    assert evaluate(done.repaired).accuracy.all > max(others)
    assert evaluate(done.repaired).accuracy.all > evaluate(done.before).accuracy.all - 0.03  # one of 293 rows is .0034
    torch.testing.assert_close(z(done.model), done.repaired.logits, rtol=1e-5, atol=1e-5)
    assert done.model.seen == OWN and done.model.classes == toys.CLASSES
    alone = evaluate(done.after)
    assert alone.accuracy.absent == 0 and alone.tradeoff.best_all is None
    assert alone.accuracy.absent_among_absent is None and alone.accuracy.seen == alone.accuracy.seen_among_seen
    torch.testing.assert_close(done.before.logits, z(fresh[0]), rtol=1e-5, atol=1e-5)
    assert "3 have the fine-tuned model's row" in caplog.text and "Heads" in dict(sentences(done))


def test_the_budget_counts_against_the_fine_tuned_model_among_its_own_classes(fresh) -> None:
    val = TARGET.split("val")
    noise = np.random.default_rng(0).normal(0, 0.1, (5, 3)).astype(np.float32)
    many = replace(val, labels=val.labels.repeat(5), read=lambda i: val.read(i % 150) + noise[i // 150], name=str)
    done = repair(*fresh, replace(TARGET, splits=TARGET.splits | {"val": many}))
    assert "at most 0.05 in expectation" in done.offset.guarantee
    lost = evaluate(done.after).accuracy.seen - evaluate(done.repaired).accuracy.seen
    assert lost <= 0.05 + 2 * (0.25 / evaluate(done.after).seen_rows) ** 0.5


def test_data_of_seen_classes_alone_will_do(fresh) -> None:
    own = {name: _only(TARGET, name) for name in TARGET.splits}
    data = Data(OWN, own, torch.ones(3, dtype=torch.bool), "toy")
    done = repair(*fresh, data)
    assert done.repaired.classes == toys.CLASSES and "Limits" in dict(sentences(done))


def test_the_result_is_a_directory_that_loads_like_any_other(fresh, tmp_path) -> None:
    before = replace(fresh[0], library="plain", name="tests.toys:Net")
    after = replace(fresh[1], classes=("ant", "cat", "fox"))
    done = repair(before, after, _with_fox(TARGET))
    assert done.model.classes == (*toys.CLASSES, "fox") and done.stitch.new == ("fox",)
    save_model(tmp_path, done.model)
    again = load_model(f"plain/tests.toys:Net@{tmp_path}")
    assert again.classes == done.model.classes and again.seen == ("ant", "cat", "fox")
    torch.testing.assert_close(z(again, _with_fox(TARGET)), z(done.model, _with_fox(TARGET)))


def _with_fox(data: Data) -> Data:
    """Dogs are foxes, which the pretrained model never had."""
    classes = (*data.classes[:3], "fox", data.classes[4])
    return replace(data, classes=classes)


def test_a_network_that_goes_on_after_its_head_is_joined_too(caplog) -> None:
    data = toys.images(200)
    torch.manual_seed(0)
    start = toys.classifier(module=toys.GoesOn())
    every = torch.ones(5, dtype=torch.bool)
    before = fine_tune(start, toys.replace_seen(data, every), replace(BUDGET, epochs=40))
    after = times(cut(fine_tune(before, data, replace(BUDGET, epochs=10)), OWN), 3.0)
    done = repair(before, after, toys.images(200, seed=3), Choices(prefer="balanced"))
    assert 0 < done.stitch.scale < 0.5 and "another model" not in caplog.text
    assert evaluate(done.repaired).accuracy.all >= evaluate(done.before).accuracy.all - 0.02


def other(num: int = 5) -> nn.Module:
    """A factory that cannot be told how many classes there are."""
    return toys.Net(num)


def test_a_factory_that_takes_no_number_gets_a_head_of_the_files_size(fresh, tmp_path) -> None:
    _, after = fresh
    save_model(tmp_path, replace(after, library="plain", name="tests.repairs.test_stitched:other"))
    again = load_model(f"plain/tests.repairs.test_stitched:other@{tmp_path / 'model.safetensors'}")
    assert again.num_outputs == 3 and toys.same(again.weights, after.weights)


# --- names


def test_modules_are_joined_by_the_names_that_are_given(fresh, caplog) -> None:
    before, after = (model.module for model in fresh)
    rows = DataLoader(TensorDataset(*ROWS), batch_size=32)
    done = repair(before, after, rows, before_classes=toys.CLASSES, after_classes=OWN)
    assert type(done.model) is toys.Net and done.repaired.seen.tolist() == toys.SEEN.tolist()
    guessed = repair(before, after, rows, seen=[0, 2, 3])
    assert "it is guessed that they are the 3 seen classes in order, 0, 2, 3" in caplog.text
    torch.testing.assert_close(guessed.repaired.logits, done.repaired.logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(BadInput, match="after_classes="):
        repair(before, after, rows, seen=[2, 0, 3])
    with pytest.raises(BadInput, match="answer 5 and 3 classes"):
        repair(before, after, rows)


def test_what_only_one_model_or_nobody_knows_is_said(fresh, caplog) -> None:
    before, after = fresh
    caplog.set_level(logging.WARNING)
    four = replace(with_rows(after, torch.randn(4, 11), torch.zeros(4)), classes=(*OWN, "gnu"))
    repair(before, four, TARGET)
    assert "1 classes are known to `after` alone, neither to `before` nor to the data: gnu" in caplog.text
    nameless = replace(after, classes=())
    repair(before, nameless, TARGET)
    assert "it is guessed that they are the 3 seen classes of the data in their order, ant, cat, dog" in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Ant", "cat", "dog"), "upper and lower case"),
        (("aunt", "cart", "dogs"), "none of the 5 of `before`.*Closest: 'aunt' and 'ant'"),
    ],
)
def test_names_that_do_not_match_are_shown(fresh, names, message: str) -> None:
    before, after = fresh
    data = Data(OWN, {name: _only(TARGET, name) for name in TARGET.splits}, torch.ones(3, dtype=torch.bool))
    with pytest.raises(BadInput, match=f"(?s){message}.*after_classes="):
        repair(before, replace(after, classes=names), data)


class Tied(nn.Module):
    """A network of two heads, of whose logits the mean is the answer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.first, self.head, self.other = nn.Linear(3, 11), nn.Linear(11, num_classes), nn.Linear(11, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = torch.relu(self.first(x))
        return (self.other(f) + self.head(f)) / 2


def test_what_cannot_be_joined_is_refused_by_name(fresh) -> None:
    before, after = fresh
    both = [Classifier(Tied(n).eval(), "head", classes=names) for n, names in ((5, toys.CLASSES), (3, OWN))]
    with pytest.raises(BadInput, match=r"(?s)differ by more than the rows.*other.*Fine-tune with one linear layer"):
        repair(*both, TARGET)
    deep = nn.Sequential(nn.Linear(11, 7), nn.ReLU(), nn.Linear(7, 3))
    module = after.copy().module
    module.head = deep
    with pytest.raises(BadInput, match=r"(?s)is 'head.2' \(7 features\).*head.0.weight"):
        repair(before, replace(after, module=module, head="head.2"), TARGET)
    soft = [replace(m, module=nn.Sequential(m.module, nn.LogSoftmax(1)), head="0.head") for m in fresh]
    with pytest.raises(BadInput, match=r"not made by the rows of its layer '0.head' alone"):
        repair(*soft, TARGET)
    with pytest.raises(BadInput, match="repeats a fine-tuning of the whole head"):
        repair(before, after, TARGET, Choices(select=BY_RETRAINING), retrain=lambda model, _: model)


def test_a_head_in_a_sequence_is_the_same_layer(fresh) -> None:
    before, after = fresh
    module = after.copy().module
    module.head = nn.Sequential(nn.Dropout(0.2), module.head).eval()
    done = repair(before, replace(after, module=module, head="head.1"), TARGET)
    torch.testing.assert_close(done.repaired.logits, repair(before, after, TARGET).repaired.logits)
