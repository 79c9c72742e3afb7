"""Names of the outputs of two heads, and the data over the union: every branch by hand."""

import logging

import pytest
import torch
from torch import nn

from reclaim.core.errors import BadInput
from reclaim.data.records import Data, Split
from reclaim.models.classifier import Classifier
from reclaim.models.union import union_of
from reclaim.repairs.heads import named_heads, names_of_outputs, over_union, tuned_union

OLD = ("ant", "bee", "cat", "dog")


def model(*classes: str, outputs: int = 0, namings: tuple = (), seen: tuple[str, ...] | None = None) -> Classifier:
    layer = nn.Linear(3, outputs or len(classes))
    return Classifier(nn.Sequential(layer), "0", classes=classes, namings=namings, seen=seen)


def data(*classes: str, seen: tuple[str, ...] = ()) -> Data:
    labels = torch.arange(len(classes))
    split = Split(labels, labels.numpy().__getitem__, str)
    return Data(classes, {"val": split}, torch.tensor([name in (seen or classes) for name in classes]), "rows")


# --- names


def test_of_several_namings_that_with_most_names_of_the_others_is_taken() -> None:
    good, foreign = ("ant", "bee", "yak"), ("zoo", "zip", "zap")
    rows = data("ant", "bee", "cat", seen=("ant",))
    for namings in ((good, foreign), (foreign, good)):
        before, after = named_heads(model(*OLD), model(outputs=3, namings=namings), rows)
        assert (before.classes, after.classes) == (OLD, good)
        before, after = named_heads(model(outputs=3, namings=namings), model("bee", "cow"), data("bee"))
        assert (before.classes, after.classes) == (good, ("bee", "cow"))
    ours = ("cow", "kid")  # of `before` those count that are of `after` too
    assert named_heads(model(outputs=2, namings=(("ant", "x"), ours)), model("cow", "kid"), rows)[0].classes == ours
    assert named_heads(model(*OLD, namings=(foreign,)), model("bee", namings=(foreign,)), rows)[0].classes == OLD


def test_nameless_outputs_are_guessed_to_be_the_classes_of_the_data_which_is_said(caplog) -> None:
    rows = data("ant", "bee", "cat", seen=("ant", "cat"))
    with caplog.at_level(logging.WARNING):
        before, after = named_heads(model(outputs=3), model(outputs=2), rows)
    assert (before.classes, after.classes) == (("ant", "bee", "cat"), ("ant", "cat"))
    assert [record.getMessage() for record in caplog.records] == [
        "the outputs of `after` have no names: it is guessed that they are the 2 seen classes of the data in their "
        "order, ant, cat; name them with the argument `after_classes`.",
        "the outputs of `before` have no names: it is guessed that they are the 3 classes of the data in their order, "
        "ant, bee, cat; name them with the argument `before_classes`.",
    ]


@pytest.mark.parametrize(("which", "sizes"), [("before", (4, 2)), ("after", (3, 3))])
def test_nameless_outputs_of_another_number_are_refused(which: str, sizes: tuple[int, int]) -> None:
    rows = data("ant", "bee", "cat", seen=("ant", "cat"))
    with pytest.raises(BadInput, match=rf"the {sizes[which == 'after']} of `{which}` have none(.|\n)*{which}_classes="):
        named_heads(model(outputs=sizes[0]), model(outputs=sizes[1]), rows)


def test_names_that_are_given_name_every_output() -> None:
    known = model("x", "y", namings=(("p", "q"),))
    assert names_of_outputs(known, (), "after") is known
    named = names_of_outputs(known, ["ant", "bee"], "after")
    assert named.classes == ("ant", "bee") and named.namings == ()
    for wrong in (("ant",), ("ant", "bee", "cat")):
        with pytest.raises(BadInput, match=rf"{len(wrong)} names were given for the 2 outputs of `before`"):
            names_of_outputs(known, wrong, "before")
    with pytest.raises(BadInput):
        names_of_outputs(known, ("ant", "ant"), "before")


# --- what was tuned


ALL = ("ant", "bee", "cat", "dog", "fox")


@pytest.mark.parametrize(
    ("after", "of_data", "said", "tuned"),
    [
        (model("ant", "cat"), data(*OLD, seen=("ant",)), False, ("ant", "cat")),  # its own classes
        (model("ant", "cat", seen=("ant",)), data(*OLD, seen=("cat",)), False, ("ant",)),  # what is on record
        (model("ant", "cat"), data(*OLD, seen=("ant",)), True, ("ant",)),  # what is said
        (model("ant", "cat", seen=("cat",)), data(*OLD, seen=("ant",)), True, ("ant",)),  # said against the record
        (model("ant", "cat", "fox"), data(*OLD, seen=("ant",)), True, ("ant", "fox")),  # the data do not know foxes
        (model(*ALL), data(*ALL, seen=("bee", "fox")), False, ("bee", "fox")),  # else nothing would be absent
        (model(*OLD), data(*OLD, seen=("bee",)), False, ("bee",)),  # the same classes
        (model(*ALL, seen=("ant", "fox")), data(*ALL, seen=("bee",)), False, ("ant", "fox")),
    ],
)
def test_which_classes_were_tuned(after: Classifier, of_data: Data, said: bool, tuned: tuple[str, ...], caplog) -> None:
    with caplog.at_level(logging.WARNING):
        union = tuned_union(model(*OLD), after, of_data, said=said)
    assert union.tuned_classes == tuned and union.shared == tuple(name for name in tuned if name in OLD)
    assert union.classes == (*OLD, *(name for name in after.classes if name not in OLD))
    new = [name for name in tuned if name not in OLD]
    assert caplog.records[0].getMessage() == (
        f"the two models answer other classes, joined by name: {len(tuned)} have the fine-tuned model's row of the "
        f"head and count as seen, {len(new)} of them new; {len(union.classes) - len(tuned)} have the pretrained "
        "model's and are absent."
    )
    unknown = [name for name in new if name not in of_data.classes]
    said_too = [f"{len(unknown)} classes are known to `after` alone, neither to `before` nor to the data: fox."]
    assert [record.getMessage() for record in caplog.records[1:]] == (said_too if unknown else [])


@pytest.mark.parametrize("said", [True, False])
def test_seen_classes_that_the_fine_tuned_model_lacks_are_refused_by_name(said: bool) -> None:
    rows = data(*ALL, "gnu", "hen", seen=("ant", "gnu", "hen"))
    with pytest.raises(BadInput, match=r"^2 of the seen classes are not among .*: gnu, hen\.\n  `after` has: ant, "):
        tuned_union(model(*OLD), model(*ALL), rows, said=said)


# --- the data


UNION = union_of(OLD, ("ant", "cat", "fox"), ("ant", "cat", "fox"))


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        (("dog", "ant"), ("ant", "cat", "dog", "fox")),  # their own, and all tuned ones
        (("cat", "bee", "dog", "ant"), (*OLD, "fox")),
        (("cat",), (*OLD, "fox")),  # no class of these is absent: the whole union
        (("ant", "cat", "fox"), (*OLD, "fox")),
        (("fox", "bee"), ("ant", "bee", "cat", "fox")),
    ],
)
def test_data_are_over_their_own_classes_and_all_tuned_ones(given: tuple[str, ...], columns: tuple[str, ...]) -> None:
    rows = data(*given, seen=given[:1])
    made = over_union(rows, UNION)
    assert made.classes == columns and made.seen.tolist() == [name in ("ant", "cat", "fox") for name in columns]
    assert [made.classes[y] for y in made.split("val").labels.tolist()] == list(given)


def test_data_of_other_classes_are_refused() -> None:
    with pytest.raises(BadInput, match=r"^2 of the 4 classes of the data are those of neither model: gnu, hen\."):
        over_union(data("ant", "gnu", "bee", "hen"), UNION)
    with pytest.raises(BadInput, match=r"^the data have no class .*: these are ant, cat, fox, and theirs bee, dog\."):
        over_union(data("bee", "dog"), UNION)
