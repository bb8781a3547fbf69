"""Replica: published updates, rejected values, and protection against malformed updates."""

from __future__ import annotations

import gc
import threading
import weakref
from enum import Enum
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

import streamlit_crdt.document.document as document_module
from streamlit_crdt.document.replica import LOCAL, ROOM, TAB, Replica
from streamlit_crdt.document.shared_content import SharedContent
from streamlit_crdt.document.update_log import MAX_LOG_UPDATES
from streamlit_crdt.errors import UpdateRefusedError, ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.merge import RULES
from streamlit_crdt_server.yjs.update_decoder import UpdateMeta, check_update, decode_state_vector

POISON = bytes.fromhex("0104080007010166030170000001780177013107000807060400080202686900")
"""Update on which pycrdt 0.14.13 panics. Every later call of the same document panics too."""


def record_updates(replica: Replica) -> list[tuple[bytes, str]]:
    updates: list[tuple[bytes, str]] = []
    replica.subscribe(lambda update, origin: updates.append((update, origin)))
    return updates


def nested_update(depth: int) -> bytes:
    """Return an update that sets state["a"] to `depth` nested arrays."""
    return b"\x01\x01\x05\x00\x28\x01\x05state\x01a\x01" + b"\x75\x01" * depth + b"\x7e\x00"


def test_R1_equal_value_sends_nothing() -> None:
    replica = Replica()
    updates = record_updates(replica)
    assert replica.set("a", [1, {"b": 2.0}])
    assert not replica.set("a", [1, {"b": 2.0}])
    assert len(updates) == replica.version == 1
    for value in (1, True, 1.0, "1", None):
        assert replica.set("a", value)
        assert not replica.set("a", value)
        assert type(replica.get("a")) is type(value)


def test_R1_change_of_type_reaches_other_replicas() -> None:
    sender, receiver = Replica(), Replica()
    for value in (1, True, 1.0, [1], [True], -0.0, 0.0):
        sender.set("a", value)
        assert receiver.apply(sender.diff(receiver.state_vector())) == {"a"}
        assert repr(receiver.get("a")) == repr(value)


def test_R2_second_application_of_an_update_changes_nothing() -> None:
    sender, receiver = Replica(), Replica()
    sender.set("a", 1)
    sender.set("gone", 1)
    sender.delete("gone")
    assert receiver.apply(sender.diff()) == {"a"}
    received = record_updates(receiver)
    version = receiver.version
    assert receiver.apply(sender.diff()) == frozenset()
    assert receiver.version == version and received == []


def test_R3_deletion_is_sent_with_an_unchanged_state_vector() -> None:
    sender, receiver = Replica(), Replica()
    sender.set("a", 1)
    receiver.apply(sender.diff())
    before, version = sender.state_vector(), sender.version
    assert sender.delete("a")
    assert sender.state_vector() == before
    update = sender.update_since(version)
    assert update
    assert receiver.apply(update) == {"a"}
    assert "a" not in receiver and not sender.delete("a")


def test_R3_update_excludes_earlier_deletions() -> None:
    replica = Replica()
    updates = record_updates(replica)
    for number in range(2000):
        replica.set("a", number)
        if number % 2:
            replica.delete("a")
    replica.set("b", 1)
    assert len(updates[-1][0]) < 40


@pytest.mark.parametrize("key", ["\ud800", "k" * 5000, 5])
def test_R5_invalid_key_is_rejected(key: Any) -> None:
    replica = Replica()
    with pytest.raises(ValueNotShareableError):
        replica.set(key, 1)
    assert replica.version == 0 and replica.keys() == []


def test_R5_rejected_value_leaves_the_replica_unchanged() -> None:
    replica = Replica()
    replica.set("a", 1)
    content, version = replica.diff(), replica.version
    with pytest.raises(ValueNotShareableError, match="'a'"):
        replica.set("a", [1, object()])
    assert (replica.diff(), replica.version, replica.get("a")) == (content, version, 1)


def test_R6_subscriber_receives_the_origin() -> None:
    source = Replica()
    source.set("a", 1)
    first = source.diff()
    source.set("b", 1)
    replica = Replica()
    received = record_updates(replica)
    replica.apply(first, origin=ROOM)
    replica.apply(source.diff(), origin=TAB)
    replica.set("c", 1)
    assert [origin for _, origin in received] == [ROOM, TAB, LOCAL]


def test_R6_update_from_the_tab_is_not_logged() -> None:
    source, replica = Replica(), Replica()
    source.set("a", 1)
    replica.apply(source.diff(), origin=TAB)
    assert replica.version == 0 and replica.update_since(0) == b""


def test_unsubscribe_ends_the_calls() -> None:
    replica = Replica()
    received: list[bytes] = []
    unsubscribe = replica.subscribe(lambda update, origin: received.append(update))
    replica.set("a", 1)
    unsubscribe()
    unsubscribe()
    replica.set("a", 2)
    assert len(received) == 1


def test_transaction_makes_one_update() -> None:
    replica, other = Replica(), Replica()
    updates = record_updates(replica)
    with replica.transaction():
        for number in range(5):
            replica.set(f"k{number}", number)
        replica.delete("k0")
        with replica.transaction():
            assert replica.set("k1", "inner")
        assert replica.get("k1") == "inner" and "k0" not in replica
    assert len(updates) == replica.version == 1
    assert other.apply(updates[0][0]) == {"k1", "k2", "k3", "k4"}


def test_raising_transaction_keeps_and_sends_its_edits() -> None:
    replica = Replica()
    updates = record_updates(replica)
    with pytest.raises(KeyError), replica.transaction():
        replica.set("a", 1)
        raise KeyError
    assert replica.get("a") == 1 and len(updates) == 1
    assert replica.set("b", 1)


def test_empty_transaction_sends_nothing() -> None:
    replica = Replica()
    with replica.transaction():
        pass
    assert replica.version == 0


def test_apply_inside_a_transaction_raises() -> None:
    replica, other = Replica(), Replica()
    other.set("a", 1)
    with replica.transaction(), pytest.raises(RuntimeError):
        replica.apply(other.diff())


def test_apply_returns_exactly_the_changed_keys() -> None:
    sender, receiver = Replica(), Replica()
    for key in "abcd":
        sender.set(key, {"value": [1.5, key]})
    receiver.apply(sender.diff())
    receiver.set("own", 1)
    sender.set("a", {"value": 2})
    sender.delete("b")
    sender.set("e", float("nan"))
    sender.set("gone", 1)
    sender.delete("gone")
    assert receiver.apply(sender.diff(receiver.state_vector())) == {"a", "b", "e"}


def test_R3_updates_in_any_order_are_all_applied() -> None:
    """With yrs 0.28 alone, a third of these orders leaves an incomplete document."""
    writers = [Replica() for _ in range(3)]
    updates: list[bytes] = []
    for writer in writers:
        writer.subscribe(lambda update, origin: updates.append(update) if origin == LOCAL else None)
    for seed in range(60):
        random = Random(seed)
        writer = random.choice(writers)
        key = random.choice("abc")
        writer.set(key, seed) if random.random() < 0.7 else writer.delete(key)
        if random.random() < 0.3:
            writer.apply(random.choice(writers).diff(writer.state_vector()))
    in_order = Replica()
    for update in updates:
        in_order.apply(update)
    for seed in range(100):
        Random(seed).shuffle(updates)
        replica = Replica()
        for update in updates:
            replica.apply(update)
        assert dict(replica.items()) == dict(in_order.items()), f"seed {seed}"
        assert in_order.diff(replica.state_vector())[0] == 0, f"seed {seed}: something is still missing"
        assert replica.set("c", 1) or replica.delete("c")


def test_values_are_deep_copies() -> None:
    replica = Replica()
    value = {"list": [1]}
    replica.set("a", value)
    value["list"].append(2)
    replica.get("a")["list"].append(3)
    assert replica.get("a") == {"list": [1]}


def test_unreadable_value_affects_only_its_key() -> None:
    document = Doc()
    state = document.get("state", type=Map)
    state["good"], state["bad"] = 1, {"$enum": ["nowhere", "X", ["Y"]]}
    replica = Replica()
    assert replica.apply(document.get_update()) == {"good", "bad"}
    with pytest.raises(ValueUnreadableError, match="'bad'"):
        replica.get("bad")
    assert dict(replica.items()) == {"good": 1} and replica.keys() == ["bad", "good"]
    assert replica.set("bad", 2) and replica.get("bad") == 2


class Mode(Enum):
    A = 1


def test_enum_member_belongs_to_the_current_class(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica()
    replica.set("mode", Mode.A)
    assert replica.get("mode") is Mode.A
    newer = Enum("Mode", {"A": 1}, module=__name__)
    monkeypatch.setitem(globals(), "Mode", newer)
    assert replica.get("mode") is newer["A"]
    assert not replica.set("mode", newer["A"])


def test_nested_shared_types_are_read_as_values() -> None:
    document = Doc()
    state = document.get("state", type=Map)
    state["map"], state["array"], state["text"] = Map({"a": 1}), Array([1, 2]), Text("hi")
    replica = Replica()
    replica.apply(document.get_update())
    assert dict(replica.items()) == {"map": {"a": 1}, "array": [1, 2], "text": "hi"}


@pytest.mark.parametrize(
    "update",
    [
        POISON, b"\xff" * 200_000, b"\x00", b"\x01", b"junk", b"\x00\x00\x00", nested_update(100_000),
        nested_update(513),
        b"\x01\x01\x05\x00\x00\x00\x00", b"\x01\xff\xff\xff\xff\xff\x01\x05\x00\x00",
        b"\x00" + b"\xff" * 6 + b"\x01",
        nested_update(1)[:-1] + b"\x01\x05\x01\x00\x00", nested_update(1) + b"\x00",
        nested_update(1)[:-3] + b"\x10\x00",
    ],
    ids=lambda update: update[:12].hex(),
)  # fmt: skip
def test_N2_malformed_update_leaves_the_replica_unchanged(update: bytes) -> None:
    replica = Replica()
    replica.set("a", 1)
    received, content = record_updates(replica), replica.diff()
    with pytest.raises(UpdateRefusedError):
        replica.apply(update)
    assert replica.diff() == content and received == [] and replica.version == 1
    assert replica.set("b", 2)


def test_N2_panic_in_the_trial_document_rejects_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "read_update_meta", lambda update: UpdateMeta())
    replica = Replica()
    replica.set("a", 1)
    with pytest.raises(UpdateRefusedError, match="PanicException"):
        replica.apply(POISON)
    assert replica.delete("a") and replica.diff()


def test_N2_panic_in_the_document_leaves_the_replica_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """Substitute for pyo3's PanicException, which cannot be imported."""

    class Panicking(Doc):
        def apply_update(self, update: bytes) -> None:
            super().apply_update(update)
            if panics and len(self.get_state()) > len(other.state_vector()):
                self.get("state", type=Map).clear()
                raise Panic("the document is damaged")

    panics, other = False, Replica()
    monkeypatch.setattr(document_module, "Doc", Panicking)
    replica = Replica(replica_id=77)
    replica.set("a", 1)
    other.set("b", 1)
    received, content = record_updates(replica), replica.diff()
    panics = True
    with pytest.raises(UpdateRefusedError, match="Panic"):
        replica.apply(other.diff())
    panics = False
    assert replica.diff() == content and replica.replica_id == 77 and received == []
    assert replica.set("c", 2) and replica.delete("a")
    assert replica.apply(other.diff()) == {"b"}
    copy = Replica()
    copy.apply(replica.diff())
    assert dict(copy.items()) == dict(replica.items()) == {"b": 1, "c": 2}
    assert [origin for _, origin in received] == [LOCAL, LOCAL, ROOM]


def test_N2_keyboard_interrupt_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Doc):
        def apply_update(self, update: bytes) -> None:
            raise KeyboardInterrupt

    other, replica = Replica(), Replica()
    other.set("a", 1)
    monkeypatch.setattr(document_module, "Doc", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        replica.apply(other.diff())


@pytest.mark.parametrize(
    "vector", [b"", b"\x01", b"\xff\xff\xff\xff\xff\xff\x01" + b"\x00" * 11, b"\x00\x00"]
)
def test_N2_malformed_state_vector_is_rejected(vector: bytes) -> None:
    with pytest.raises(UpdateRefusedError):
        Replica().diff(vector)
    with pytest.raises(ValueError):
        decode_state_vector(vector)


def test_every_content_type_passes_validation() -> None:
    document = Doc()
    updates: list[bytes] = []
    document.observe(lambda event: updates.append(event.update))
    state = document.get("state", type=Map)
    text, array = document.get("text", type=Text), document.get("list", type=Array)
    state["a"] = {"n": [1, -5, 2.5, 2**60, float("nan"), None, True, "é", b"x"], "deep": {"er": []}}
    state["map"] = Map({"x": Array([1, Map(), Text("t")])})
    state["sub"] = Doc()
    text.insert(0, "a👍b")
    text.format(0, 1, {"bold": True})
    text.insert_embed(1, {"image": "x"})
    del text[0:2]
    array.extend([1, "two", [3]])
    del state["map"], array[1]
    for update in [*updates, document.get_update(), Doc().get_update()]:
        check_update(update)
    assert check_update(document.get_update()) == decode_state_vector(document.get_state())
    for cut in range(len(document.get_update())):
        with pytest.raises(ValueError):
            check_update(document.get_update()[:cut])


def test_update_log_returns_updates_since_a_version() -> None:
    replica = Replica()
    for number in range(5):
        replica.set(f"k{number}", number)
    other = Replica()
    assert other.apply(replica.update_since(3) or b"") | other.apply(replica.update_since(0) or b"") == {
        f"k{number}" for number in range(5)
    }
    replica.acknowledge(3)
    assert replica.update_since(2) is None
    assert replica.update_since(3) and replica.update_since(5) == replica.update_since(9) == b""


def test_unacknowledged_update_log_is_limited() -> None:
    replica = Replica()
    for number in range(MAX_LOG_UPDATES + 5):
        replica.set("a", number)
    assert replica.update_since(0) is None
    assert replica.update_since(replica.version - 2)
    replica.set("large", b"x" * 2_000_000)
    assert replica.update_since(replica.version - 1) is None and replica.update_since(replica.version) == b""


def test_concurrent_threads_lose_no_edit() -> None:
    replica = Replica()
    updates = record_updates(replica)
    failures: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for number in range(100):
                replica.set(f"{name}{number}", number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    copy = Replica()
    for update, _ in updates:
        copy.apply(update)
    assert failures == [] and len(replica) == replica.version == len(copy) == 400


def test_deleted_replica_is_garbage_collected() -> None:
    replica = Replica()
    replica.edit("log", None, ["first"], RULES["list"])
    replica.apply(Replica().diff())
    held = [weakref.ref(part) for part in (replica, replica._document, replica._document._doc)]
    del replica
    gc.collect()
    assert [part() for part in held] == [None] * 3


def test_update_does_not_reread_unchanged_root_types(monkeypatch: pytest.MonkeyPatch) -> None:
    replica, other = Replica(), Replica()
    replica.edit("log", None, ["first"], RULES["list"])
    other.apply(replica.diff())
    read = list[str]()
    native = SharedContent.read

    def record(self: SharedContent, name: str, kind: Any) -> Any:
        if name != "state":
            read.append(name)
        return native(self, name, kind)

    monkeypatch.setattr(SharedContent, "read", record)
    replica.set("x", 1)
    other.apply(replica.diff())
    assert (other.get("x"), other.get("log"), read) == (1, ["first"], [])
    replica.edit("log", None, ["first", "second"], RULES["list"])
    other.apply(replica.diff())
    assert other.get("log") == ["first", "second"]


def test_overwritten_content_for_undo_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "MAX_UNDO_BYTES", 100_000)
    replica, other = Replica(), Replica()
    replica.subscribe(lambda update, origin: other.apply(update) and None)
    for number in range(100):
        replica.begin_group()
        replica.set("big", f"{number}" + 10_000 * "x")
        assert len(replica.diff()) < 200_000
    replica.begin_group()
    replica.set("big", "last")
    replica.undo()
    assert replica.get("big") == other.get("big") == "99" + 10_000 * "x"
    assert replica.state_vector() == other.state_vector()


@pytest.mark.parametrize("rule", ["text", "list", "map"])
def test_first_deletion_after_the_limit_for_undo_reaches_others(
    monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setattr(document_module, "MAX_UNDO_BYTES", 10)
    value: Any = {"text": "some text", "list": ["a", "b"], "map": {"a": 1}}[rule]
    replica, other = Replica(), Replica()
    replica.set("other", 1)
    replica.edit("doc", None, value, RULES[rule])
    replica.edit("doc", value, value + value if rule != "map" else {"a": 2}, RULES[rule])
    replica.begin_group()
    assert replica.delete("doc")
    other.apply(replica.diff())
    assert other.keys() == ["other"]
    replica.apply(other.diff())
    assert replica.keys() == ["other"]


def test_edit_in_a_paused_history_is_not_undone() -> None:
    replica = Replica()
    replica.begin_group()
    replica.set("size", 2)
    replica.pause_history()
    replica.set("total", 5)
    assert replica.undo() == {"size"}
    assert (replica.get("size"), replica.get("total"), replica.can_redo) == (None, 5, True)
    replica.begin_group()
    replica.set("size", 3)
    assert replica.can_undo and not replica.can_redo


def test_take_changed_returns_local_and_remote_changes_once() -> None:
    replica, other = Replica(), Replica()
    replica.set("before", 1)
    assert replica.take_changed() == {"before"}
    other.set("remote", 1)
    replica.apply(other.diff())
    replica.set("local", 1)
    replica.delete("before")
    assert replica.take_changed() == {"remote", "local", "before"}
    assert replica.take_changed() == frozenset()
