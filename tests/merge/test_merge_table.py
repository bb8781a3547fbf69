"""The table of merge semantics in docs/merging.md: each row is executed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from streamlit_crdt.codec.values import deep_copy, equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES

PAGE: Final = Path(__file__).parents[2] / "docs" / "merging.md"
ABSENT: Final = object()
ANY_ORDER: Final = " in any order"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `undone_by` is "" in the first table."""

    rule: str
    value: str
    ada: str
    ben: str
    undone_by: str
    afterwards: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.value} - {self.ada} - {self.ben} {self.undone_by}"


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| `") else []
        if len(cells) >= 5:
            cells = cells if len(cells) == 6 else [*cells[:4], "", cells[4]]
            found.append(Row(cells[0].strip("`"), *cells[1:]))
    return found


def code(cell: str) -> str:
    match = re.fullmatch(r"`(.+)`", cell)
    assert match, f"{cell!r} is no code"
    return match[1]


def act(replica: Replica, rule: str, before: Any, cell: str) -> None:
    replica.begin_group()
    if cell == "the key is deleted":
        replica.delete("k")
    elif code(cell) == "reset()":
        replica.operate("k", RULES[rule], 0, lambda editor: editor.reset())
    else:
        scope = {"v": deep_copy(before)}
        exec(code(cell), scope)
        replica.edit("k", before, scope["v"], RULES.get(rule))


def values_of(cell: str) -> list[Any]:
    return [ABSENT if each == "no value" else eval(code(each)) for each in cell.split(" or ")]


def sync(ada: Replica, ben: Replica) -> None:
    ada.apply(ben.diff(ada.state_vector()))
    ben.apply(ada.diff(ben.state_vector()))
    ada.apply(ben.diff(ada.state_vector()))


@pytest.mark.parametrize("row", rows(), ids=str)
@pytest.mark.parametrize("ids", [(1, 2), (2, 1)], ids=["ada first", "ben first"])
def test_row_of_the_merge_table_holds(row: Row, ids: tuple[int, int]) -> None:
    ada, ben = (Replica(replica_id=number) for number in ids)
    before = eval(code(row.value))
    ada.edit("k", None, before, RULES.get(row.rule))
    ben.apply(ada.diff())
    before = ben.get("k")
    act(ada, row.rule, before, row.ada)
    act(ben, row.rule, before, row.ben)
    sync(ada, ben)
    for name in filter(None, row.undone_by.split(", ")):
        assert {"Ada": ada, "Ben": ben}[name].undo() is not None
        sync(ada, ben)
    result = ada.get("k", ABSENT)
    assert equal(ben.get("k", ABSENT), result)
    if row.afterwards.endswith(ANY_ORDER):
        assert sorted(result, key=str) == sorted(
            values_of(row.afterwards.removesuffix(ANY_ORDER))[0], key=str
        )
    else:
        assert any(result == value for value in values_of(row.afterwards)), result


def test_merge_table_has_every_rule_and_both_kinds_of_rows() -> None:
    assert {row.rule for row in rows()} == {"value", *RULES}
    assert {bool(row.undone_by) for row in rows()} == {True, False}
