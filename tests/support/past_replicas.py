"""Rooms with a long past: many replica ids that wrote once."""

from __future__ import annotations

from random import Random

from pycrdt import Doc, Map, merge_updates

from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint

_ANY_WITH_KEY = b"\x28\x01"
"""A struct with values, under a key of a root type."""

_ONE = b"\x01\x7d\x01"
"""One value: the integer 1."""


def counted_by(replica_ids: int) -> bytes:
    """Return a room in which each of many replicas has added 1 to a counter."""
    random = Random(replica_ids)
    authors = sorted({random.getrandbits(53) for _ in range(replica_ids)}, reverse=True)
    root = encode_bytes(b"counter:clicks")
    structs = (
        b"\x01" + encode_varuint(author) + b"\0" + _ANY_WITH_KEY + root + encode_bytes(b"%d" % author) + _ONE
        for author in authors
    )
    doc = Doc(client_id=5)
    doc.get("state", type=Map)["clicks"] = {"$rule": ["counter", "int"]}
    return merge_updates(encode_varuint(len(authors)) + b"".join(structs) + b"\0", doc.get_update())
