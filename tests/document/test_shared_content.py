"""Reading of content that no client of this library writes (rule N2). `hostile_trials` runs in a child."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt.document import shared_content
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.merge import RULES
from streamlit_crdt_server.yjs.nesting import MAX_NESTING
from tests.server.support.nested_types import DELETE_OUTERMOST, chain, links
from tests.support.hostile_documents import (
    AUTHOR,
    CONTENTS,
    Struct,
    encode,
    in_container,
    matrix,
)
from tests.support.hostile_trials import fuzz, watch


def test_N2_any_content_in_any_container_is_read_and_edited() -> None:
    result = watch(["matrix"])
    assert not result.failures, result.failures[0]
    assert result.tried == len(list(matrix()))


def test_N2_random_documents_end_or_stop_no_process() -> None:
    result = fuzz(seed=1, budget_s=5, max_trials=25)
    assert not result.failures, result.failures[0]


@pytest.mark.parametrize("text", ["ASCII text", "text", "astral text"])
def test_N2_text_inside_of_a_list_is_left_out_with_a_warning(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    replica = Replica()
    with caplog.at_level(logging.WARNING):
        replica.apply(in_container("list:k", CONTENTS[text]))
        replica.set("other", 1)
        replica.apply(encode([(9, 0, [Struct(CONTENTS["value"], "state", key="x")])]))
    assert dict(replica.items()) == {"k": [7, 7], "other": 1, "x": 7}
    (record,) = caplog.records
    assert "'k'" in record.getMessage() and "[1]" in record.getMessage()
    assert replica.edit("k", [7, 7], [7, 8, 7], RULES["list"]) and replica.get("k") == [7, 8, 7]
    peer = Replica()
    peer.apply(replica.diff())
    assert peer.get("k") == [7, 8, 7]


def test_N2_text_inside_of_a_nested_list_leaves_the_rest_readable() -> None:
    document: Doc[Any] = Doc(client_id=77)
    document.get("state", type=Map)["n"] = Map({"list": Array([1, Text("é"), 2]), "text": Text("ü")})
    replica = Replica()
    replica.apply(document.get_update())
    assert replica.get("n") == {"list": [1, "é", 2], "text": "ü"}
    replica.apply(in_container("array", CONTENTS["astral text"]))
    other = "n" if isinstance(replica.get("n"), list) else None
    assert other is None or replica.get("n") == [7, 7]


def test_N2_format_of_a_nested_xml_type_is_applied() -> None:
    """`observe_deep` of pycrdt reads each changed entry of XML, and panics on a format."""
    replica = Replica()
    replica.apply(encode([(AUTHOR, 0, [Struct(CONTENTS["XML fragment"], "set:k")])]))
    replica.apply(encode([(AUTHOR, 1, [Struct(CONTENTS["format"], (AUTHOR, 0), key="a")])]))
    assert replica.set("other", 1) and replica.get("other") == 1


def test_change_of_a_nested_type_is_read() -> None:
    replica, entry = Replica(), Struct(CONTENTS["value"], (AUTHOR, 0), key="a")
    replica.apply(encode([(AUTHOR, 0, [Struct(CONTENTS["map"], "list:k")])]))
    assert replica.get("k") == [{}]
    assert replica.apply(encode([(AUTHOR, 1, [entry])])) == {"k"} and replica.get("k") == [{"a": 7}]
    assert replica.apply(encode([], [(AUTHOR, 1, 1)])) == {"k"} and replica.get("k") == [{}]


def test_undone_deletion_of_a_nested_list_is_readable() -> None:
    replica = Replica()
    replica.apply(in_container("array", CONTENTS["astral text"]))
    replica.begin_group()
    assert replica.get("n") == [7, 7] and replica.delete("n")
    replica.undo()
    assert replica.get("n", []) in ([7, 7], [])


def test_long_list_is_read_alike_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [CONTENTS["binary"], CONTENTS["value"], CONTENTS["NaN"], CONTENTS["map value"]] * 200
    structs = [Struct(values[0], "list:k")]
    structs += [Struct(each, left=(AUTHOR, clock)) for clock, each in enumerate(values[1:])]
    update = encode([(AUTHOR, 0, structs)])
    by_item, in_one_pass = Replica(), Replica()
    by_item.apply(update)
    monkeypatch.setattr(shared_content, "MAX_INDEXING_S", -1.0)
    in_one_pass.apply(update)
    assert repr(in_one_pass.get("k")) == repr(by_item.get("k")) and len(by_item.get("k")) == len(values)


def test_N2_replica_refuses_types_nested_too_deeply() -> None:
    replica = Replica()
    for update in links(MAX_NESTING):
        replica.apply(update)
    with pytest.raises(UpdateRefusedError, match="max_nesting"):
        replica.apply(links(MAX_NESTING + 1)[-1])
    with pytest.raises(UpdateRefusedError, match="max_nesting"):
        Replica().apply(chain(3_000))
    replica.apply(DELETE_OUTERMOST)
    assert replica.set("a", 1)
