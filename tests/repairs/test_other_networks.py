"""Networks that take mappings, answer records, or have several heads go every way that others go."""

from dataclasses import replace

import pytest
import torch

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput
from reclaim.data.records import Data
from reclaim.models.batch_norm import measure_again
from reclaim.models.classifier import Classifier
from reclaim.models.forward import logits_of
from reclaim.models.head import ends_with_head, fold
from reclaim.models.head_alone import head_alone
from reclaim.models.predict import predict
from reclaim.repairs.models import repair
from reclaim.snapshots.metrics.accuracy import accuracy
from reclaim.training.budget import Budget
from reclaim.training.recipes.fine_tune import fine_tune
from reclaim.training.recipes.linear_probe import linear_probe
from reclaim.training.recipes.lp_ft import lp_ft
from tests import toys

BUDGET = Budget(epochs=6, learning_rate=0.05, batch_size=16)


def by_name() -> Classifier:
    torch.manual_seed(0)
    return replace(toys.towers(), classes=toys.CLASSES, module=toys.Towers().eval())


def several_heads() -> Classifier:
    torch.manual_seed(1)
    return toys.classifier(module=toys.Heads())


KINDS = {
    "mapping and record": (by_name, toys.in_two(toys.data(200)), toys.in_two(toys.data(400, 1, move=0.5))),
    "several heads": (several_heads, toys.data(200), toys.data(400, 1, move=0.5)),
}
EVERY = pytest.mark.parametrize("kind", KINDS)


def pretrained(kind: str) -> tuple[Classifier, Data]:
    make, source, target = KINDS[kind]
    everything = replace(source, splits={"train": source.split("val")}, seen=torch.ones(5, dtype=torch.bool))
    return fine_tune(make(), everything, BUDGET), target


def among_seen(model: Classifier, data: Data) -> float:
    rows = predict(model, data, "test")
    found = accuracy(rows.logits, rows.labels, rows.seen).seen_among_seen
    assert found is not None
    return found


@EVERY
def test_predict_keeps_logits_and_the_inputs_of_the_head(kind: str) -> None:
    model, data = pretrained(kind)
    made = predict(model, data, "val")
    x = model.inputs(*map(data.split("val").read, range(len(made))))
    torch.testing.assert_close(made.logits, logits_of(model.module, x).detach())
    torch.testing.assert_close(model.last_layer(made.features), made.logits)
    assert model.head == "head" and ends_with_head(model, x)


@EVERY
@pytest.mark.parametrize("recipe", [fine_tune, lp_ft, linear_probe])
def test_recipes_learn_and_keep_the_absent_rows_of_the_head(kind: str, recipe) -> None:
    model, data = pretrained(kind)
    tuned = recipe(model, data, BUDGET)
    assert among_seen(tuned, data) > among_seen(model, data)
    assert torch.equal(tuned.last_layer.weight[~toys.SEEN], model.last_layer.weight[~toys.SEEN])
    if isinstance(model.module, toys.Heads) and recipe is not linear_probe:  # nothing asks the other heads
        assert torch.equal(tuned.module.auxiliary.weight, model.module.auxiliary.weight)


@EVERY
def test_a_repair_answers_what_it_reports(kind: str) -> None:
    before, data = pretrained(kind)
    after = fine_tune(before, data, BUDGET)
    done = repair(before, after, data)
    rows = data.split("test")
    z = logits_of(done.model.module, done.model.inputs(*map(rows.read, range(len(rows)))))
    torch.testing.assert_close(z.detach(), done.repaired.logits, atol=1e-5, rtol=1e-5)
    repaired, tuned = (accuracy(s.logits, s.labels, s.seen) for s in (done.repaired, done.after))
    assert repaired.all > tuned.all and repaired.absent > tuned.absent


@EVERY
def test_folding_changes_the_logits_by_the_map(kind: str) -> None:
    model, data = pretrained(kind)
    offset = LogitOffset(2.5, Fitted(tuple(toys.SEEN.tolist()), toys.CLASSES))
    x = model.inputs(*map(data.split("val").read, range(9)))
    torch.testing.assert_close(
        logits_of(fold(model, offset.affine(model.classes)).module, x), offset(logits_of(model.module, x))
    )


@EVERY
def test_the_head_alone_has_the_features_as_its_data(kind: str) -> None:
    model, data = pretrained(kind)
    alone, features = head_alone(model, data)
    mine, theirs = (predict(m, d, "val").logits for m, d in ((alone, features), (model, data)))
    torch.testing.assert_close(mine, theirs[data.seen[data.split("val").labels]])


def test_statistics_are_measured_again_on_mappings() -> None:
    model, data = by_name(), KINDS["mapping and record"][2]
    rows, net = data.split("train"), model.module
    x = model.inputs(*map(rows.read, range(len(rows))))
    f = torch.cat([net.left(x["left"]), net.right(x["right"])], dim=1).detach()
    norm = measure_again(model, rows).module.norm
    torch.testing.assert_close((norm.running_mean, norm.running_var), (f.mean(dim=0), f.var(dim=0)))


def test_a_named_head_that_does_not_reach_the_logits_is_refused() -> None:
    model, data = pretrained("several heads")
    with pytest.raises(BadInput, match="the layer 'auxiliary' changes a logit, so it is not the head"):
        repair(*(replace(model, head="auxiliary") for _ in range(2)), data)
