"""Two heads on one backbone: every number of the joined answers, from what the two models answer alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reclaim.core.errors import Argument, BadInput
from reclaim.core.inference import Inference
from reclaim.data.inputs.arrays import AsTensors
from reclaim.data.records import Data
from reclaim.models.batches import evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.models.identity import identity
from reclaim.models.predict import predict
from reclaim.models.union import stitched, union_of
from reclaim.repairs.choices import Choices
from reclaim.repairs.folding import fold_offset
from reclaim.repairs.models import repair
from reclaim.repairs.plan import Ends, plan
from reclaim.repairs.rows import MoreEvidence, Part, divide, for_statistics, one_split
from reclaim.repairs.stitching import StitchedMixtures, scale_between
from tests import toys
from tests.repairs.conftest import counted

OWN = ("ant", "cat", "fox")  # a fox is new
UNION = union_of(toys.CLASSES, OWN, OWN)
WIDE = (*toys.CLASSES, "fox")
SEEN = torch.tensor([True, False, True, False, False, True])


def model(classes: tuple[str, ...], seed: int) -> Classifier:
    torch.manual_seed(seed)
    module = toys.Net(len(classes))
    with torch.no_grad():
        module.norm.running_mean.normal_()
        module.norm.running_var.uniform_(0.5, 2.0)
    return Classifier(module.eval(), "head", classes=classes, name=f"net {seed}")


BEFORE, AFTER = model(toys.CLASSES, 1), model(OWN, 2)


def data(classes: tuple[str, ...] = WIDE, n: int = 90) -> Data:
    """Rows of all of the classes."""
    given = toys.data(n=n, spread=1.0)
    splits = {name: replace(split, labels=split.labels % len(classes)) for name, split in given.splits.items()}
    splits["train"] = replace(splits["train"], labels=0 * splits["train"].labels)
    return Data(classes, splits, torch.tensor([name in OWN for name in classes]), "toy")


DATA = data()
ROWS = divide(DATA)


def made_of(union=UNION, rows=ROWS, of_data: Data = DATA, pair=(BEFORE, AFTER), **how) -> StitchedMixtures:
    return StitchedMixtures(*pair, union, rows, for_statistics(of_data, rows), **how)


def alone(who: Classifier, rows: Part) -> Tensor:
    """What a model answers on the rows, over its own classes."""
    every = torch.ones(len(who.classes), dtype=torch.bool)
    own = Data(who.classes, {"rows": replace(rows.split, labels=0 * rows.split.labels)}, every, "toy")
    return predict(who, own, "rows", features=False).logits


def columns(z: Tensor, classes: tuple[str, ...], names) -> Tensor:
    return z[:, [classes.index(name) for name in names]]


# --- the scale


def test_the_scale_is_the_ratio_of_the_spreads_within_rows() -> None:
    ours, theirs = torch.tensor([[0.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 8.0]])
    within = ((4 + 4) / 4) ** 0.5, ((1 + 0 + 1 + 1 + 1 + 4) / 6) ** 0.5
    assert scale_between(ours, theirs) == pytest.approx(within[0] / within[1])
    assert scale_between(theirs, ours) == pytest.approx(within[1] / within[0])
    assert scale_between(ours, 1e-3 * ours) == pytest.approx(1e3)
    flat = torch.ones(2, 3)
    assert scale_between(flat, theirs) == scale_between(theirs, flat) == scale_between(flat, flat) == 1.0


@pytest.mark.parametrize(
    ("own", "compared"),
    [
        (("ant", "cat", "fox"), (("ant", "cat"), ("ant", "cat"))),  # two that both have
        (("ant", "bee", "cat"), (("ant", "bee", "cat"), ("ant", "bee", "cat"))),
        (("elk", "fox"), (toys.CLASSES, ("elk", "fox"))),  # one alone has no spread: all of either
    ],
)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_scale_is_that_of_the_classes_of_both(own, compared, alpha: float) -> None:
    after = model(own, 3)
    pair = BEFORE, after
    known = data(WIDE if "fox" in own else toys.CLASSES)
    of_data = replace(known, seen=torch.tensor([name in own for name in known.classes]))
    rows = divide(of_data)
    made = made_of(union_of(toys.CLASSES, own, own), rows, of_data, pair)
    z = [_on(pair[int(alpha)], head, rows.choose) for head in pair]
    expected = scale_between(columns(z[0], toys.CLASSES, compared[0]), columns(z[1], own, compared[1]))
    assert made.scale(alpha) == pytest.approx(expected, rel=1e-5) and abs(expected - 1) > 0.01


def _on(backbone: Classifier, head: Classifier, rows: Part) -> Tensor:
    """What a head answers on another network's features."""
    every = torch.ones(len(backbone.classes), dtype=torch.bool)
    own = Data(backbone.classes, {"rows": replace(rows.split, labels=0 * rows.split.labels)}, every, "toy")
    f = predict(backbone, own, "rows").features
    layer = head.last_layer
    return f @ layer.weight.detach().T + layer.bias.detach()


# --- what is answered


@pytest.mark.parametrize("which", ["choose", "report"])
def test_the_two_models_alone_have_other_classes_below_all_others(which: str) -> None:
    made, rows = made_of(), vars(ROWS)[which]
    for who, answers, has in ((BEFORE, made.start(rows), toys.CLASSES), (AFTER, made.end(rows), OWN)):
        own = alone(who, rows)
        floor = torch.minimum(own.logsumexp(dim=1) - 30.0, own.amin(dim=1) - 1.0)
        for column, name in enumerate(WIDE):
            expected = own[:, who.classes.index(name)] if name in has else floor
            torch.testing.assert_close(answers.logits[:, column], expected, rtol=1e-5, atol=1e-5)
        assert answers.lacks == tuple(name for name in WIDE if name not in has)
        assert answers.classes == WIDE and torch.equal(answers.seen, SEEN) and answers.checked is answers.logits
        assert torch.equal(answers.labels, rows.split.labels) and answers.split == rows.name
        assert answers.model_identity == identity(who.weights)
        assert (answers.features is None) == (which == "choose")


def test_a_class_far_below_the_others_stays_above_those_that_the_model_lacks() -> None:
    sunk = AFTER.copy()
    with torch.no_grad():
        sunk.last_layer.bias[1] -= 100.0
    own = made_of(pair=(BEFORE, sunk)).end(ROWS.report).logits
    torch.testing.assert_close(own[:, 1], own[:, 2] - 1.0)
    assert torch.equal(own[:, 1], own[:, 3])


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_joined_answers_are_those_of_the_joined_network(alpha: float) -> None:
    made = made_of()
    network = made.model(alpha)
    assert network.classes == WIDE and network.seen == OWN
    for rows in (ROWS.choose, ROWS.report):
        answers, plain = made.answers(alpha, rows), made.joined(alpha, rows, 1.0)
        torch.testing.assert_close(answers.logits, alone(network, rows), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(answers.logits, plain.logits * torch.where(SEEN, made.scale(alpha), 1.0))
        for one in (answers, plain, made.joined(alpha, rows, 2.5)):
            assert one.model_identity == "" and one.lacks == () and one.classes == WIDE
            assert torch.equal(one.labels, rows.split.labels) and torch.equal(one.seen, SEEN)
        torch.testing.assert_close(made.joined(alpha, rows, 2.5).logits, plain.logits * torch.where(SEEN, 2.5, 1.0))
    if alpha in (0.0, 1.0):
        by_hand = stitched(BEFORE, AFTER, UNION, alpha=alpha, scale=made.scale(alpha))
        torch.testing.assert_close(alone(by_hand, ROWS.report), alone(network, ROWS.report), rtol=1e-5, atol=1e-5)


def test_data_of_fewer_classes_are_answered_over_these() -> None:
    few = data(("dog", "cat", "ant"))
    rows = divide(few)
    made = made_of(rows=rows, of_data=few)
    answers = made.end(rows.report)
    assert answers.classes == ("dog", "cat", "ant") and answers.seen.tolist() == [False, True, True]
    assert answers.lacks == ("dog",) and made.start(rows.report).lacks == ()
    full = made_of().joined(0.0, Part(DATA, rows.report.split), 1.0).logits
    expected = columns(full, WIDE, few.classes)
    torch.testing.assert_close(made.joined(0.0, rows.report, 1.0).logits, expected, rtol=1e-5, atol=1e-5)


def test_it_runs_as_it_is_told_and_once_for_each_rows() -> None:
    asked = []

    def source(who, some, inference, *, chunk=None):
        asked.append((len(some), inference, chunk))
        return evaluation_batches(who, some, inference, chunk=chunk)

    how = Inference(batch_size=7, device="cpu")
    made, plain = made_of(inference=how, source=source), made_of()
    for _ in range(2):
        torch.testing.assert_close(made.answers(0.5, ROWS.report).logits, plain.answers(0.5, ROWS.report).logits)
    assert {inference for _, inference, _ in asked} == {how} and len(asked) == 3  # statistics, the scale, report
    assert [n for n, _, _ in asked] == [90, len(ROWS.choose), len(ROWS.report)]


# --- the repair


@pytest.mark.parametrize("more", [{}, {"unlabelled": DATA, "source": DATA, "labelled": DATA}], ids=["", "more"])
@pytest.mark.parametrize("choices", [Choices(prefer="balanced"), Choices(mix=0.4, class_shifts=0.0)], ids=["", "given"])
def test_a_repair_is_its_steps_one_by_one(more: dict, choices: Choices) -> None:
    done = repair(BEFORE, AFTER, DATA, choices, evidence=MoreEvidence(**more))
    made = made_of()
    parts = MoreEvidence(**more).map(one_split)
    chosen = plan(made, ROWS, choices, parts, Ends(made.start, made.end, float("-inf")))
    assert done.mix == chosen.mix and done.offset.offset == pytest.approx(chosen.offset.offset, abs=1e-5)
    assert done.offset.evidence == chosen.offset.evidence and done.offset.guarantee == chosen.offset.guarantee
    folded, bias = fold_offset(made.model(done.alpha), chosen.offset, ROWS.certify)
    assert done.bias == pytest.approx(bias, abs=1e-5) and done.model.seen == OWN and done.model.adapter is None
    for name, tensor in folded.weights.items():
        torch.testing.assert_close(done.model.weights[name], tensor, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(done.repaired.logits, alone(folded, ROWS.report), rtol=1e-4, atol=1e-4)
    assert done.before.weights is not None and toys.same(dict(done.before.weights), BEFORE.weights)
    assert done.after.weights is not None and toys.same(dict(done.after.weights), AFTER.weights)
    assert done.before.features is not None and done.after.features is not None and done.repaired.features is None
    torch.testing.assert_close(done.before.logits, made.start(ROWS.report).logits)
    torch.testing.assert_close(done.after.logits, made.end(ROWS.report).logits)
    stitch = done.stitch
    assert stitch is not None and stitch.scale == pytest.approx(made.scale(done.alpha), rel=1e-5)
    assert (stitch.tuned, stitch.absent, stitch.new) == (("ant", "cat", "fox"), 3, ("fox",))
    torch.testing.assert_close(stitch.plain.logits, made.joined(1.0, ROWS.report, 1.0).logits)
    torch.testing.assert_close(stitch.scaled.logits, made.answers(1.0, ROWS.report).logits)
    assert stitch.plain.weights is None and toys.same(dict(stitch.scaled.weights or {}), AFTER.weights)


def test_what_was_said_to_be_seen_counts() -> None:
    done = repair(BEFORE, replace(AFTER, classes=("ant", "cat", "dog")), data(toys.CLASSES), seen=["ant", "cat"])
    assert done.stitch is not None and done.stitch.tuned == ("ant", "cat") and done.stitch.absent == 3
    unsaid = repair(BEFORE, replace(AFTER, classes=("ant", "cat", "dog")), data(toys.CLASSES))
    assert unsaid.stitch is not None and unsaid.stitch.tuned == ("ant", "cat", "dog")


def test_each_example_is_decoded_once_for_all_mixtures() -> None:
    given, counts = counted(DATA)
    repair(BEFORE, AFTER, given, Choices(prefer="balanced"), inference=Inference(device="cpu", workers=0))
    again = [name for (name, _), n in counts.items() if n > 1]  # of each split one shows what the examples are
    assert {name for name, _ in counts} == {"train", "val", "test"} and len(again) == len(set(again))


def test_a_joined_head_is_no_adapter_and_no_other_preparation_goes_unsaid() -> None:
    with pytest.raises(BadInput, match="its head answers the classes of both models") as refused:
        repair(BEFORE, AFTER, DATA, result="adapter")
    assert Argument("result", "take merged weights", "merged") in refused.value.do
    other = replace(AFTER, preprocess=AsTensors())
    with pytest.raises(BadInput, match="prepare="):
        repair(BEFORE, other, DATA)
    assert repair(BEFORE, other, DATA, prepare="after").model.preprocess == AsTensors()
    assert repair(BEFORE, other, DATA, prepare="before").model.preprocess == BEFORE.preprocess
