"""Documents that edit one value by a tree rule, each from the value that its author saw last."""

from __future__ import annotations

from random import Random
from typing import Any

from pycrdt import Doc, Map, UndoManager

from streamlit_crdt.merge import Edit
from streamlit_crdt.merge.tree.tree_rule import TreeRule
from streamlit_crdt.merge.tree.versions import Versions


class TreePeer:
    """One document with one value.

    Attributes:
        seen: the value that the author saw last, or made.
    """

    def __init__(self, replica_id: int, rule: TreeRule) -> None:
        self.doc: Doc[Any] = Doc(client_id=replica_id)
        self.shared: Map[Any] = self.doc.get("records:k", type=Map)
        self.rule = rule
        self.versions = Versions()
        self.undo = UndoManager(scopes=[self.shared], capture_timeout_millis=0)
        self.seen: Any = [] if rule.is_list else {}

    def content(self) -> dict[str, Any]:
        return dict(self.shared.to_py() or {})

    def value(self) -> Any:
        return self.rule.value(self.content(), "")

    def read(self) -> Any:
        """Update the author's value from the document, and return it."""
        content = self.content()
        self.versions.note(content)
        self.seen = self.rule.value(content, "")
        return self.rule.value(content, "")

    def edit(self, after: Any, *, is_by_person: bool = True) -> None:
        edit = Edit(self.seen, after, self.doc.client_id, is_by_person, self.versions)
        with self.doc.transaction():
            self.rule.edit(self.shared, self.content(), edit)
        self.seen = after

    def receive(self, other: TreePeer) -> None:
        with self.doc.transaction(origin="remote"):  # undo does not track it
            self.doc.apply_update(other.doc.get_update(self.doc.get_state()))


def tree_peers(count: int, rule: TreeRule, value: Any) -> list[TreePeer]:
    """Return peers that have all seen `value`."""
    peers = [TreePeer(number, rule) for number in range(1, count + 1)]
    peers[0].edit(value, is_by_person=False)
    sync(peers)
    for peer in peers:
        peer.read()
    return peers


def sync(peers: list[TreePeer]) -> None:
    for receiver in peers:
        for sender in peers:
            if sender is not receiver:
                receiver.receive(sender)
    for receiver in peers[:-1]:
        receiver.receive(peers[-1])


def exchange(peers: list[TreePeer], random: Random) -> None:
    """Deliver the changes of one random peer to another one."""
    sender, receiver = random.sample(peers, 2)
    receiver.receive(sender)
