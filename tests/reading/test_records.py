from dataclasses import dataclass, field

import pytest

from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record


@dataclass
class Inner:
    count: int


@dataclass
class Outer:
    name: str
    inner: Inner
    share: float | None = None
    values: dict[str, list[float]] = field(default_factory=dict)


GOOD = {"name": "a", "inner": {"count": 1}}


def test_a_mapping_becomes_the_dataclass():
    assert record(Outer, GOOD) == Outer("a", Inner(1))
    assert record(Outer, GOOD | {"share": 1, "values": {"x": [1, 2.5]}}).values == {"x": [1, 2.5]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": 1}, "`name` must be str; got 1"),
        ({"inner": {"count": True}}, "`count` must be int; got True"),
        ({"inner": {"count": 2**63}}, "`count` must be int"),
        ({"inner": {}}, "lacks `count`"),
        ({"inner": 3}, "must be a mapping; got int"),
        ({"share": "x"}, "`share` must be float | None; got 'x'"),
        ({"values": {"x": [None]}}, "`values` must be"),
        ({"other": 1}, "unknown key `other`"),
    ],
)
def test_what_does_not_fit_is_refused(changes, reason):
    with pytest.raises(Malformed, match=reason):
        record(Outer, GOOD | changes)
