"""Records as JSON: what is not finite is refused and named."""

import json
import math

import pytest

from reclaim.core.errors import BadInput
from reclaim.core.finite import json_text


@pytest.mark.parametrize(
    ("record", "where"),
    [
        ({"a": {"b": [0.0, math.nan]}}, "a.b[1] is nan"),
        (math.inf, "the result is inf"),
        ({"a": -math.inf, "b": (1, math.nan)}, "a is -inf, b[1] is nan"),
    ],
)
def test_what_is_not_finite_is_named(record: object, where: str) -> None:
    with pytest.raises(BadInput) as refused:
        json_text(record)
    assert where in str(refused.value)


def test_everything_else_is_what_json_makes_of_it() -> None:
    record = {"a": [1, 2.5, None, True, "ä"], "b": {}}
    assert json.loads(json_text(record)) == json.loads(json_text(record, 2)) == record
