"""Limit of nested shared types (rule N2): in one update, across updates, and in any order of its structs."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlFragment, merge_updates

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.log_recovery import load_log
from streamlit_crdt_server.yjs.nesting import MAX_LOADED_NESTING, MAX_NESTING, NestingError, depths_of
from streamlit_crdt_server.yjs.safe_apply import (
    MisplacedError,
    apply_update,
    is_complete_state,
    read_state,
    validate_update,
)
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector
from tests.server.support.expensive_updates import ARRAY, NULL, struct
from tests.server.support.hostile_updates import blocks, child
from tests.server.support.nested_types import (
    DELETE_OUTERMOST,
    REPLICA,
    behind_neighbors,
    chain,
    links,
    merged,
    with_two_replicas,
)
from tests.support.hostile_documents import CONTENTS, Struct, encode


class Guarded:
    """A document with a limit."""

    def __init__(self, max_nesting: int = MAX_NESTING) -> None:
        self.ydoc: Doc[Any] = Doc()
        self.depths = depths_of(self.ydoc)
        self.depths.max_nesting = max_nesting

    def apply(self, *updates: bytes) -> None:
        for update in updates:
            apply_update(self.ydoc, update)


@pytest.mark.parametrize("make", [chain, behind_neighbors, with_two_replicas])
def test_N2_update_with_types_nested_too_deeply_is_refused(make: Any) -> None:
    validate_update(make(MAX_NESTING))
    Guarded().apply(make(MAX_NESTING))
    for depth in (MAX_NESTING + 1, 5_000):
        with pytest.raises(UpdateRefusedError, match="max_nesting=64"):
            validate_update(make(depth))
        with pytest.raises(NestingError):
            Guarded().apply(make(depth))


def test_N2_deep_types_deleted_in_the_same_update_are_refused() -> None:
    with pytest.raises(UpdateRefusedError, match="nested deeper"):
        validate_update(merged(chain(35_000), deletions=[(REPLICA, 0)]))


def test_N2_max_nesting_is_a_setting() -> None:
    validate_update(chain(100), max_nesting=100)
    with pytest.raises(UpdateRefusedError, match="max_nesting=3"):
        validate_update(chain(4), max_nesting=3)


@pytest.mark.parametrize("step", [1, 7, 63])
def test_N2_chain_built_by_many_updates_is_refused_at_the_limit(step: int) -> None:
    guarded = Guarded()
    for start in range(0, MAX_NESTING - step + 1, step):
        guarded.apply(chain(step, REPLICA, start, (REPLICA, start - 1) if start else None))
    level = MAX_NESTING // step * step
    with pytest.raises(NestingError):
        guarded.apply(chain(MAX_NESTING - level + 1, 8, 0, (REPLICA, level - 1)))
    guarded.apply(chain(MAX_NESTING - level, 9, 0, (REPLICA, level - 1)) if level < MAX_NESTING else b"\0\0")
    guarded.apply(DELETE_OUTERMOST)


def test_N2_chain_that_continues_a_loaded_document_is_refused() -> None:
    source, guarded = Guarded(), Guarded()
    source.apply(*links(MAX_NESTING))
    guarded.apply(source.ydoc.get_update())
    with pytest.raises(NestingError):
        guarded.apply(chain(1, 9, 0, (REPLICA, MAX_NESTING - 1)))


def test_N2_repeated_struct_at_another_place_does_not_lower_the_level() -> None:
    guarded = Guarded()
    guarded.apply(*links(MAX_NESTING))
    elsewhere = [struct(ARRAY), child((REPLICA, MAX_NESTING - 1), ARRAY)]
    with pytest.raises(NestingError):
        guarded.apply(blocks((REPLICA, MAX_NESTING - 1, elsewhere)))


def test_N2_partly_applied_update_counts() -> None:
    """The update is refused for its last struct. The document keeps the types before it."""
    guarded = Guarded()
    guarded.apply(blocks((5, 0, [struct((4, b"\1a"))])))
    deep = [struct(ARRAY), *(child((REPLICA, clock), ARRAY) for clock in range(MAX_NESTING - 1))]
    with pytest.raises(MisplacedError):
        guarded.apply(blocks((REPLICA, 0, [*deep, child((5, 0))])))
    with pytest.raises(NestingError):
        guarded.apply(chain(1, 9, 0, (REPLICA, MAX_NESTING - 1)))


def test_N2_refused_update_leaves_no_level() -> None:
    guarded = Guarded()
    with pytest.raises(NestingError):
        guarded.apply(chain(MAX_NESTING + 1))
    guarded.apply(*links(MAX_NESTING))


def test_document_without_nested_types_stores_no_level() -> None:
    guarded, ydoc = Guarded(), Doc[Any]()
    ydoc.observe(lambda event: guarded.apply(event.update))
    values, items, text = ydoc.get("m", type=Map), ydoc.get("a", type=Array), ydoc.get("t", type=Text)
    for number in range(300):
        values[f"k{number % 7}"] = number % 11
        items.insert(number // 2, number % 5)
        text.insert(number // 3, "'")
        del items[number // 2 : number // 2 + number % 2]
    assert guarded.ydoc.get_update() == ydoc.get_update()
    assert guarded.depths.is_flat


def test_honest_nested_content_of_another_program_is_accepted() -> None:
    guarded, ydoc = Guarded(), Doc[Any]()
    ydoc.observe(lambda event: guarded.apply(event.update))
    root = ydoc.get("m", type=Map)
    for number in range(50):
        root[f"board{number % 5}"] = board = Map({"cards": Array([Map({"title": Text("a")}), 1])})
        board["cards"][0]["title"] += "b"
        board["cards"].append(Map({"n": number}))
    fragment = ydoc.get("x", type=XmlFragment)
    del fragment
    assert guarded.ydoc.get_update() == ydoc.get_update()


def test_N2_log_with_deep_types_loads_without_them() -> None:
    """An earlier version stored the types, merged with edits of others. The edits after them are readable."""
    deep = chain(5_000)
    value = blocks((9, 0, [struct((4, b"\1a"))]))
    later = blocks((REPLICA, 5_000, [struct((4, b"\1b"))]))
    loaded = load_log([merge_updates(deep, value), later, DELETE_OUTERMOST], SurrogatePairs())
    assert loaded.bad_rows == []
    ydoc = loaded.ydoc
    assert str(ydoc.get("t", type=Text)) in ("ab", "ba")
    assert is_complete_state(ydoc, read_state(ydoc))
    copy: Doc[Any] = Doc()
    copy.apply_update(ydoc.get_update())


def test_N2_log_with_a_chain_of_many_rows_loads_without_its_end() -> None:
    loaded = load_log([*links(MAX_LOADED_NESTING + 200), DELETE_OUTERMOST], SurrogatePairs())
    assert loaded.bad_rows == []
    assert decode_state_vector(loaded.ydoc.get_state()) == {REPLICA: MAX_LOADED_NESTING + 200}


def test_N2_struct_between_two_types_is_refused() -> None:
    """pycrdt would link structs of two types, and follow the link after one of the types was deleted."""
    types = [child((5, 0), ARRAY), child((5, 1), ARRAY)]
    separate = blocks((5, 0, [struct(ARRAY), struct(ARRAY, (5, 0))]), (6, 0, types))
    between = blocks((7, 0, [struct(ARRAY, (6, 0), (6, 1))]))
    guarded = Guarded()
    guarded.apply(separate)
    with pytest.raises(UpdateRefusedError, match="different shared types"):
        guarded.apply(between)
    with pytest.raises(UpdateRefusedError, match="different shared types"):
        validate_update(merge_updates(separate, between))


COLLECTED = b"\0\1"
BESIDE_COLLECTED = blocks((5, 0, [struct(ARRAY), child((5, 0)), COLLECTED, struct(NULL, (5, 0))]))
"""A list with one value, a struct without content, and a value beside the list."""


def test_S6_struct_beside_a_collected_one_is_accepted() -> None:
    beside = blocks((6, 0, [struct(NULL, (5, 2), (5, 3))]))
    guarded = Guarded()
    guarded.apply(BESIDE_COLLECTED)
    guarded.apply(beside)
    validate_update(merge_updates(BESIDE_COLLECTED, beside))


def test_N2_type_between_a_collected_struct_and_a_nested_one_is_nested() -> None:
    """pycrdt inserts it beside the right neighbor."""
    guarded = Guarded(max_nesting=1)
    guarded.apply(BESIDE_COLLECTED)
    with pytest.raises(NestingError):
        guarded.apply(blocks((6, 0, [struct(ARRAY, (5, 2), (5, 1))])))


def test_S6_merged_update_of_yjs_with_a_gap_is_accepted() -> None:
    """The last text has a neighbor in the gap, which follows a value of another type."""
    validate_update(
        bytes.fromhex(
            "020a9af9e3b30300040101740178070101610008009af9e3b30301017d02889af9e3b3030201770178c89af9e3b303029a"
            "f9e3b30303017d0cc79af9e3b303049af9e3b303030204009af9e3b303050178c89af9e3b303059af9e3b3030301770568"
            "656c6c6f0a02c49af9e3b303009af9e3b303080568656c6c6f06b1d18ce1010007010161012800b1d18ce10100016e017d"
            "0687b1d18ce10100012800b1d18ce10102016e017d010a03c49af9e3b3030c9af9e3b3030d096c6f6e67207465787400"
        )
    )


NESTED_MAP = encode([(5, 0, [Struct(CONTENTS["map"], "state", key="n")])])


@pytest.mark.parametrize("name", ["text", "astral text", "undefined"])
def test_N2_entry_of_a_nested_map_with_two_values_is_refused(name: str) -> None:
    """pycrdt deletes its last part only, together with its map. The other part refers to freed memory then."""
    wide = encode([(6, 0, [Struct(CONTENTS[name], (5, 0), key="k")])])
    value = encode([(6, 0, [Struct(CONTENTS["value"], (5, 0), key="k")])])
    behind_value = encode([(6, 1, [Struct(CONTENTS[name], left=(6, 0))])])
    guarded = Guarded()
    guarded.apply(NESTED_MAP, value)
    for update in (wide, merge_updates(NESTED_MAP, wide)):
        with pytest.raises(UpdateRefusedError, match="several values"):
            validate_update(update)
    with pytest.raises(UpdateRefusedError, match="several values"):
        guarded.apply(behind_value)
    loaded = load_log([NESTED_MAP, value, behind_value], SurrogatePairs())
    assert not loaded.bad_rows and decode_state_vector(loaded.ydoc.get_state())[6] > 1


def test_overwritten_values_of_an_entry_in_one_struct_are_accepted() -> None:
    """Yjs merges deleted structs, with their content if an undo manager keeps it."""
    overwritten = encode([(6, 0, [Struct(CONTENTS["undefined"], (5, 0), key="k")])], [(6, 0, 1)])
    guarded = Guarded()
    guarded.apply(NESTED_MAP, validate_update(overwritten).data, encode([], [(6, 1, 1), (5, 0, 1)]))
    Doc[Any]().apply_update(read_state(guarded.ydoc))


@pytest.mark.parametrize(
    "content",
    [(2, b"\1\1a"), (7, b"\5\1h")],
    ids=["JSON", "XML hook"],
)
def test_N2_content_that_pycrdt_reads_differently_is_refused(content: tuple[int, bytes]) -> None:
    """pycrdt reads one text too many, or the name as the next struct: the checks would see another update."""
    with pytest.raises(UpdateRefusedError, match="not supported"):
        validate_update(blocks((5, 0, [struct(content)])))


@pytest.mark.parametrize("clock", [2**32, 2**32 + 7, 2**53 - 1])
def test_N2_clock_of_more_than_32_bits_is_refused(clock: int) -> None:
    """pycrdt drops the higher bits."""
    for update in (
        blocks((5, clock, [struct(ARRAY)])),
        blocks((5, 0, [child((7, clock), ARRAY)])),
        blocks((5, 0, [struct(ARRAY, (7, clock))])),
        blocks((5, 0, [b"\0" + encode_varuint(clock)])),
        blocks(deletions=[(7, clock)]),
    ):
        with pytest.raises(UpdateRefusedError):
            validate_update(update)
