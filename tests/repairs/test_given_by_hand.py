"""Modules, loaders, names and devices: what each argument of a repair does, and what happens without it."""

import logging
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from reclaim.calibration.calibrators.logit_offset import LogitOffset
from reclaim.calibration.protocol import Fitted
from reclaim.core.errors import BadInput, BadKind
from reclaim.core.inference import Inference
from reclaim.data.inputs.arrays import AsTensors
from reclaim.models.batches import evaluation_batches
from reclaim.models.classifier import Classifier
from reclaim.repairs.choices import Choices
from reclaim.repairs.mixtures import OutputMixture, WeightMixtures, answered, mixed
from reclaim.repairs.models import repair
from reclaim.repairs.modules import Names, Opened, named_modules, opened
from reclaim.repairs.rows import MoreEvidence, Part
from tests import toys
from tests.repairs.conftest import TARGET, counted

CHOICES = Choices(mix=0.6, select="gap-matching", class_shifts=0.0)
ROWS = (torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 5)


def net(outputs: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, outputs)).eval()


def plain(outputs: int) -> Classifier:
    return Classifier(net(outputs), "2")


# --- names of modules

FIVE, THREE = ("ant", "bee", "cat", "dog", "elk"), ("ant", "cat", "dog")
NUMBERS = ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("sizes", "names", "of_data", "seen", "expected"),
    [
        # as many outputs: the names given, else those of the data if as many, else numbers
        ((5, 5), Names(FIVE), (), None, (FIVE, FIVE, FIVE)),
        ((5, 5), Names(FIVE), ("x",) * 5, None, (FIVE, FIVE, FIVE)),
        ((5, 5), Names(), FIVE, None, (FIVE, FIVE, FIVE)),
        ((5, 5), Names(), THREE, None, (NUMBERS, NUMBERS, NUMBERS)),
        ((5, 5), Names(), (), None, (NUMBERS, NUMBERS, NUMBERS)),
        # other numbers: either's own names, else those that are as many
        ((5, 3), Names(before=FIVE, after=THREE), (), None, (FIVE, THREE, FIVE)),
        (
            (5, 3),
            Names(before=FIVE, after=("ant", "fox", "gnu")),
            (),
            None,
            (FIVE, ("ant", "fox", "gnu"), (*FIVE, "fox", "gnu")),
        ),
        ((5, 3), Names(before=FIVE, after=THREE), ("cat", "ant"), None, (FIVE, THREE, ("cat", "ant"))),
        ((5, 3), Names(FIVE, after=THREE), (), None, (FIVE, THREE, FIVE)),
        ((5, 3), Names(before=FIVE), THREE, None, (FIVE, THREE, THREE)),
        ((5, 3), Names(), FIVE, ["ant", "cat", "dog"], (FIVE, THREE, FIVE)),
        ((5, 3), Names(), FIVE, [0, 2, 3], (FIVE, THREE, FIVE)),
        ((5, 3), Names(), FIVE, {"dog", "cat", "ant"}, (FIVE, THREE, FIVE)),
        ((5, 3), Names(), FIVE, frozenset({3, 2, 0}), (FIVE, THREE, FIVE)),
        ((5, 3), Names(), (), [0, 2, 3], (NUMBERS, ("0", "2", "3"), NUMBERS)),
        ((5, 5), Names(before=FIVE, after=FIVE[::-1]), (), None, (FIVE, FIVE[::-1], FIVE)),
        ((5, 5), Names(before=FIVE), FIVE[::-1], None, (FIVE, FIVE[::-1], FIVE[::-1])),
        ((5, 5), Names(after=FIVE), FIVE[::-1], None, (FIVE[::-1], FIVE, FIVE[::-1])),
    ],
)
def test_names_of_outputs_and_of_the_classes_that_labels_count(sizes, names, of_data, seen, expected) -> None:
    before, after, columns = named_modules(plain(sizes[0]), plain(sizes[1]), names, of_data, seen)
    assert (before.classes, after.classes, columns) == expected


@pytest.mark.parametrize(
    ("sizes", "names", "of_data", "seen", "message"),
    [
        (
            (5, 5),
            Names(THREE),
            (),
            None,
            "3 class names were given, and the networks answer 5 classes(.|\n)*: classes=",
        ),
        ((5, 5), Names(THREE), FIVE, None, "3 class names were given, and the networks answer 5"),
        ((5, 3), Names(), THREE, None, "answer 5 and 3 classes(.|\n)*the data name 3 classes(.|\n)*before_classes="),
        ((5, 3), Names(after=THREE), (), None, "the data name none(.|\n)*before_classes="),
        ((5, 3), Names(after=THREE), ("ant", "bee"), None, "the data name 2 classes(.|\n)*before_classes="),
        ((5, 3), Names(before=FIVE), ("ant", "bee"), None, "the data name 2 classes(.|\n)*after_classes="),
        ((5, 3), Names(), (), None, "the data name none(.|\n)*after_classes="),
        ((5, 3), Names(), FIVE, None, "the data name 5 classes(.|\n)*after_classes="),
        ((5, 3), Names(), FIVE, [0, 2], "after_classes="),
        ((5, 3), Names(), FIVE, [2, 0, 3], "after_classes="),
        ((5, 3), Names(), FIVE, {0, 1, 2, 3}, "after_classes="),
        ((5, 3), Names(before=THREE), (), None, "3 names were given for the 5 outputs of `before`"),
        ((5, 3), Names(before=FIVE, after=FIVE), (), None, "5 names were given for the 3 outputs of `after`"),
    ],
)
def test_outputs_without_names_are_refused_by_the_argument_that_names_them(
    sizes, names, of_data, seen, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        named_modules(plain(sizes[0]), plain(sizes[1]), names, of_data, seen)


# --- what is opened


def open_of(before, after, data, evidence=MoreEvidence(), *, seen=None, names=Names(), how=Inference()) -> Opened:
    return opened(before, after, data, evidence, seen=seen, names=names, inference=how)


def test_classifiers_keep_what_they_know_and_take_what_is_said() -> None:
    pair = toys.classifier(0), toys.classifier(1)
    how = Inference(batch_size=7)
    given = open_of(*pair, TARGET, MoreEvidence(TARGET, None, TARGET), how=how)
    assert given.before is pair[0] and given.after is pair[1] and given.data is TARGET and given.inference is how
    assert given.evidence.unlabelled is given.evidence.labelled is TARGET and given.evidence.source is None
    said = open_of(*pair, TARGET, seen=["bee", 4], names=Names((), FIVE[::-1], ("p", "q", "r", "s", "t")))
    assert said.data.seen_classes == ("bee", "elk")
    assert said.before.classes == FIVE[::-1] and said.after.classes == ("p", "q", "r", "s", "t")


def test_modules_are_classifiers_with_their_loaders_ways() -> None:
    first, last = net(5), net(5, 1)
    loader = DataLoader(TensorDataset(*ROWS), batch_size=9, num_workers=0)
    given = open_of(first, last, loader, seen=[0, 2], names=Names(FIVE))
    for one, module in ((given.before, first), (given.after, last)):
        assert one.module is module and one.head == "2" and one.classes == FIVE and one.name == "Sequential"
        assert one.preprocess.collate([loader.dataset[3], loader.dataset[4]]).shape == (2, 3)
        assert one.adapter is None
    assert given.data.seen_classes == ("ant", "cat") and given.data.classes == FIVE
    assert torch.equal(given.data.split("all").labels, ROWS[1]) and given.evidence == MoreEvidence()
    assert (given.inference.batch_size, given.inference.workers) == (9, 0)
    asked = open_of(first, last, loader, seen=[0], how=Inference(batch_size=4, workers=1, device="cpu")).inference
    assert (asked.batch_size, asked.workers, asked.device) == (4, 1, "cpu")
    lists = open_of(first, last, ROWS, seen=[0]).inference
    assert (lists.batch_size, lists.workers) == (None, 0)


def test_more_evidence_of_modules_is_over_the_same_classes() -> None:
    first, last = net(5), net(5, 1)
    x, y = ROWS
    given = open_of(first, last, ROWS, MoreEvidence(x[:7], (x[:8], y[:8]), (x[:9], y[:9])), seen=[0, 2])
    for kind, n in (("unlabelled", 7), ("source", 8), ("labelled", 9)):
        rows = vars(given.evidence)[kind]
        assert len(rows.split("all")) == n and rows.classes == NUMBERS and rows.seen_classes == ("0", "2")
        assert torch.equal(rows.split("all").labels, torch.zeros(7, dtype=torch.long) if n == 7 else y[:n])
    for kind in ("source", "labelled"):
        with pytest.raises(BadKind, match="given: Tensor"):
            open_of(first, last, ROWS, MoreEvidence(**{kind: x[:7]}), seen=[0, 2])


def test_seen_classes_of_modules_are_those_said_or_those_of_the_other_head() -> None:
    names = Names(before=FIVE, after=("ant", "fox", "cat"))
    given = open_of(net(5), net(3), ROWS, names=names)
    assert given.data.classes == (*FIVE, "fox") and given.data.seen_classes == ("ant", "cat", "fox")
    assert open_of(net(5), net(3), ROWS, seen=["cat"], names=names).data.seen_classes == ("cat",)
    x, y = ROWS
    known = TensorDataset(x, y % 2)
    known.classes = ["elk", "ant"]  # type: ignore[attr-defined]
    given = open_of(net(5), net(3), DataLoader(known), names=names)
    assert given.data.classes == ("elk", "ant") and given.data.seen_classes == ("ant",)
    with pytest.raises(BadInput, match="seen="):
        open_of(net(5), net(5), ROWS)


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ((toys.classifier(), toys.classifier(), ROWS), "Classifier, Classifier, tuple"),
        ((toys.classifier(), net(5), TARGET), "Classifier, Sequential, Data"),
        ((net(5), toys.classifier(), TARGET), "Sequential, Classifier, Data"),
        ((net(5), toys.classifier(), ROWS), "Sequential, Classifier, tuple"),
        ((net(5), net(5), TARGET), "Sequential, Sequential, Data"),
        ((net(5), net(5), None), "Sequential, Sequential"),
        ((net(5), net(5), net(5)), "Sequential, Sequential, Sequential"),
        ((toys.classifier(), toys.classifier(), None), "Classifier, Classifier"),
        ((net(5), ROWS, None), "Sequential, tuple"),
    ],
)
def test_other_forms_are_refused_by_kind(given, kinds: str) -> None:
    with pytest.raises(BadKind, match=rf"two modules and a loader; given: {kinds}\.$"):
        open_of(*given, seen=[0])


def test_data_without_rows_are_refused() -> None:
    with pytest.raises(BadInput, match="the data have no rows"):
        open_of(net(5), net(5), (ROWS[0][:0], ROWS[1][:0]), seen=[0])
    assert len(open_of(net(5), net(5), (ROWS[0][:1], ROWS[1][:1]), seen=[0]).data.split("all")) == 1


# --- what is run


def test_a_network_answers_as_it_is_told() -> None:
    asked, how = [], Inference(batch_size=7, device="cpu")

    def source(who, some, inference, *, chunk=None):
        asked.append((len(some), inference, chunk))
        return evaluation_batches(who, some, inference, chunk=chunk)

    rows = Part(TARGET, TARGET.split("val"), "some rows")
    plain = answered(toys.classifier(), rows, how)
    assert plain.features is None and plain.split == "some rows" and not asked
    wide = answered(toys.classifier(), rows, how, features=True, source=source)
    assert wide.features.shape == (len(rows), 11) and torch.equal(wide.logits, plain.logits)
    assert asked == [(len(rows), how, None)]
    first, last = toys.classifier(0), toys.classifier(1)
    with torch.no_grad():
        last.module.norm.running_mean += 1
    mixtures = WeightMixtures(first, last, TARGET.split("train"), how, source)
    assert torch.equal(mixtures.answers(0.5, rows).logits, mixtures.answers(0.5, rows).logits)
    assert [(n, one) for n, one, _ in asked[1:]] == [(len(TARGET.split("train")), how), (len(rows), how)]
    again = WeightMixtures(first, last, TARGET.split("train"))
    torch.testing.assert_close(again.answers(0.5, rows).logits, mixtures.answers(0.5, rows).logits)
    assert again.inference == Inference() and again.source is evaluation_batches


def test_a_mixture_of_answers_is_of_an_alpha_from_0_to_1() -> None:
    lift = LogitOffset(1.0, Fitted((True, False)))
    for alpha in (0.0, 0.4, 1.0):
        assert OutputMixture(alpha, lift).alpha == alpha
    for alpha, message in ((-0.1, "alpha"), (1.2, "alpha must be from 0, .* given: 1.2"), (float("nan"), "alpha")):
        with pytest.raises(BadInput, match=message):
            OutputMixture(alpha, lift)
    z = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(mixed(z, z, 0.3).exp().sum(dim=1).round(decimals=12), torch.ones(3, dtype=torch.float64))
    assert (
        mixed(z.float(), z.half(), 0.5).dtype == torch.float32 and mixed(z.half(), z.half(), 0).dtype == torch.float32
    )


# --- what a repair does with its arguments


def test_a_repair_keeps_features_and_weights_of_the_two_models_for_the_report(pair) -> None:
    done = repair(*pair, TARGET, CHOICES)
    for rows, model in ((done.before, pair[0]), (done.after, pair[1])):
        assert rows.features is not None and rows.features.shape == (len(TARGET.split("test")), 11)
        assert toys.same(dict(rows.weights or {}), model.weights) and rows.split == "report rows"
    assert done.repaired.features is None and done.repaired.weights is None and done.stitch is None
    assert done.model.seen == ("ant", "cat", "dog") and done.model.adapter is None


def test_each_example_is_decoded_once(pair) -> None:
    given, counts = counted(TARGET)
    repair(*pair, given, inference=Inference(device="cpu", workers=0))
    again = [name for (name, _), n in counts.items() if n > 1]  # of each split one shows what the examples are
    assert {name for name, _ in counts} == {"train", "val", "test"} and len(again) == len(set(again))


def test_the_batch_size_reaches_the_network_and_the_device_is_that_which_is_said(pair) -> None:
    sizes = set()
    first = pair[0].copy()
    first.module.head.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    repair(first, pair[1], TARGET, CHOICES, inference=Inference(batch_size=71, device="cpu"))
    assert 71 in sizes
    repair(*pair, TARGET, CHOICES, device="cpu")
    for how in ({"device": "cuda:99"}, {"inference": Inference(device="cuda:99")}):
        with pytest.raises(BadInput, match="cuda"):
            repair(*pair, TARGET, CHOICES, **how)
    repair(*pair, TARGET, CHOICES, device="cpu", inference=Inference(device="cuda:99"))


def test_whose_preparation_is_right_can_be_said(pair) -> None:
    first, last = pair[0], replace(pair[1], preprocess=AsTensors())
    with pytest.raises(BadInput, match="prepare="):
        repair(first, last, TARGET, CHOICES)
    assert repair(first, last, TARGET, CHOICES, prepare="after").model.preprocess == AsTensors()
    assert repair(first, last, TARGET, CHOICES, prepare="before").model.preprocess == first.preprocess


def test_a_pretrained_model_without_names_has_those_of_the_fine_tuned_one(pair) -> None:
    expected = repair(*pair, TARGET, CHOICES)
    done = repair(replace(pair[0], classes=()), pair[1], TARGET, CHOICES)
    assert toys.same(done.model.weights, expected.model.weights) and done.model.classes == TARGET.classes
    both = repair(*(replace(model, classes=()) for model in pair), TARGET, CHOICES)
    assert toys.same(both.model.weights, expected.model.weights) and both.model.classes == TARGET.classes


def test_names_that_are_given_match_the_classes_of_either_model(pair) -> None:
    order = ("elk", "cat", "bee", "ant", "dog")
    turned = replace(pair[0].reordered(order), classes=())
    done = repair(turned, pair[1], TARGET, CHOICES, before_classes=order)
    assert toys.same(done.model.weights, repair(*pair, TARGET, CHOICES).model.weights)
    turned = replace(pair[1].reordered(order), classes=())
    done = repair(pair[0], turned, TARGET, CHOICES, after_classes=order)
    assert toys.same(done.model.weights, repair(pair[0], pair[1].reordered(order), TARGET, CHOICES).model.weights)


def test_what_is_no_adapter_is_not_made_one(pair, caplog) -> None:
    with pytest.raises(BadInput, match=r"did not come as one(.|\n)*merged"):
        repair(*pair, TARGET, CHOICES, result="adapter")
    with caplog.at_level(logging.WARNING):
        for result in (None, "merged"):
            assert repair(*pair, TARGET, CHOICES, result=result).model.adapter is None
    assert "adapter" not in caplog.text
