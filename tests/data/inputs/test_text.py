"""Texts: ids of a tokenizer, truncated, and padded within a batch."""

import pytest
import torch

from reclaim.core.errors import BadInput
from reclaim.data.inputs.text import Texts
from reclaim.data.loader import batches
from reclaim.data.records import Split

WORDS = {"": 0, "the": 3, "cat": 4, "sat": 5, "down": 6}


def tokenize(text: str) -> dict[str, list[int]]:
    """A word, an id; and whether it is long."""
    words = text.split()
    return {"input_ids": [WORDS[word] for word in words], "long": [int(len(word) > 3) for word in words]}


def test_a_text_becomes_ids_and_a_mask() -> None:
    made = Texts(tokenize)("the cat sat down")
    assert {name: ids.tolist() for name, ids in made.items()} == {
        "input_ids": [3, 4, 5, 6],
        "long": [0, 0, 0, 1],
        "attention_mask": [1, 1, 1, 1],
    }


def test_only_the_first_tokens_are_kept() -> None:
    made = Texts(tokenize, most=2)("the cat sat down")
    assert made["input_ids"].tolist() == [3, 4] and made["attention_mask"].tolist() == [1, 1]
    with pytest.raises(BadInput, match="most=0"):
        Texts(tokenize, most=0)


@pytest.mark.parametrize(("left", "ids", "mask"), [(False, [4, 5, 9], [1, 1, 0]), (True, [9, 4, 5], [0, 1, 1])])
def test_shorter_texts_are_filled(left: bool, ids: list[int], mask: list[int]) -> None:
    make = Texts(tokenize, pad={"input_ids": 9}, left=left)
    batch = make.collate([make("the cat down"), make("cat sat")])
    assert batch["input_ids"].tolist() == [[3, 4, 6], ids]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], mask]
    assert batch["long"].shape == (2, 3) and int(batch["long"][1].sum()) == 0


def test_a_tokenizers_own_mask_is_kept_and_none_is_made_unasked() -> None:
    own = Texts(lambda text: {"ids": [1, 2], "attention_mask": [1, 0]})
    assert own("any")["attention_mask"].tolist() == [1, 0]
    assert set(Texts(tokenize, mask="")("cat")) == {"input_ids", "long"}


def test_batches_are_padded_each_to_its_own_longest() -> None:
    texts = ["cat", "the cat", "the cat sat down"]
    loader = batches(Split(torch.zeros(3, dtype=torch.int64), texts.__getitem__, str), Texts(tokenize), 2)
    assert [x["input_ids"].shape for x, _ in loader] == [(2, 2), (1, 4)]


def test_what_is_no_text_or_has_no_token_is_refused() -> None:
    with pytest.raises(BadInput, match="the example is int"):
        Texts(tokenize)(3)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="at least 1"):
        Texts(tokenize)("")
    with pytest.raises(BadInput, match="one length"):
        Texts(lambda text: {"a": [1], "b": [1, 2]})("cat")
