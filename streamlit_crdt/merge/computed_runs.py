"""Deterministic insertions into a list or a text: the equal edit of several sessions is inserted once (R9).

An insertion that no person made is written under a replica id of its own. The id is derived from everything that
defines the insertion: root type, neighbors, content. Two sessions that make the equal insertion between the same
neighbors make the same structs, and the second one changes nothing. This is what `seed` does for a first value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from pycrdt import Array, Assoc, Doc, StickyIndex, Text

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.rule import Edit
from streamlit_crdt_server.yjs.lib0 import Decoder, encode_varuint
from streamlit_crdt_server.yjs.update_decoder import UpdateDecoder, UpdateMeta

Unit = tuple[int, int]
"""One unit of a sequence: replica id and clock."""

_HAS_LEFT, _HAS_RIGHT = 0x80, 0x40
_NAMED_PARENT = 1


@dataclass(frozen=True, slots=True)
class Run:
    """A run of new items or characters.

    Attributes:
        left: the unit before the run that the author saw and kept; None at the start.
        right: the unit after it; None at the end.
        content: what is inserted: encoded items, or a text.
        token: text that is equal exactly for equal contents.
    """

    left: Unit | None
    right: Unit | None
    content: list[Stored] | str
    token: str


def insert_runs(shared: Array[Any] | Text, edit: Edit, runs: Iterable[Run]) -> None:
    """Insert runs that are not in the document yet. A transaction of the document is open."""
    for run in runs:
        author = edit.derive(f"{run.left}\0{run.right}\0{run.token}", partial(_is_visible, shared))
        if author is not None:
            shared.doc.apply_update(b"".join(_placed(_encode(edit.root, author, run), run)))


def _is_visible(shared: Array[Any] | Text, author: int) -> bool:
    """Return whether the first unit of a derived replica id is in the sequence and not deleted."""
    position = {"item": {"client": author, "clock": 0}, "assoc": Assoc.AFTER.value}
    index = StickyIndex.from_json(position, shared).get_index()
    return index < len(shared) and unit_at(shared, index) == (author, 0)


def unit_at(shared: Array[Any] | Text, index: int) -> Unit:
    """Return the unit at an index. In a text it is wrong behind other characters than ASCII, see `text_units`."""
    item = shared.sticky_index(index, Assoc.AFTER).to_json()["item"]
    return item["client"], item["clock"]


def text_units(
    shared: Text, content: bytes, offsets: Iterable[int], clocks: Mapping[int, int]
) -> dict[int, Unit]:
    """Return the unit of the character at each byte offset.

    pycrdt adds a distance in bytes to the clock of the first unit of a block, which counts UTF-16 units. So the block
    must be found. It begins at most as many units before the result of pycrdt as there are bytes before the character.

    Args:
        content: the characters of the text in UTF-8. It has no embedded objects.
        clocks: number of units of each replica in the document.
    """
    units = {offset: unit_at(shared, offset) for offset in offsets}
    if content.isascii():
        return units
    blocks = _wide_blocks(shared.doc, units, clocks)
    return {offset: _corrected(shared, content, offset, unit, blocks) for offset, unit in units.items()}


def _corrected(
    shared: Text, content: bytes, offset: int, unit: Unit, blocks: list[tuple[Unit, bytes]]
) -> Unit:
    for (replica, clock), text in blocks:
        start = offset - (unit[1] - clock)
        is_candidate = replica == unit[0] and 0 <= start <= offset < start + len(text)
        if (
            is_candidate
            and content[start : start + len(text)] == text
            and unit_at(shared, start) == (replica, clock)
        ):
            return replica, clock + units_in(content[start:offset].decode())
    return unit


def units_in(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _wide_blocks(
    doc: Doc[Any], units: Mapping[int, Unit], clocks: Mapping[int, int]
) -> list[tuple[Unit, bytes]]:
    """Return the blocks of text with other characters than ASCII that may contain the units.

    pycrdt drops half of a surrogate pair at the start of an update. A text may be empty then, and all clocks behind it
    are wrong. So there are two updates for each replica, and one of them begins between two characters.
    """
    starts = dict[int, int]()
    for offset, (replica, clock) in units.items():
        starts[replica] = min(starts.get(replica, clock), max(clock - offset, 0))
    texts = []
    for replica, start in starts.items():
        for since in {start, max(start - 1, 0)}:
            with suppress(ValueError):
                texts += _read_texts(doc, {**clocks, replica: since})
    return texts


def _read_texts(doc: Doc[Any], since: Mapping[int, int]) -> list[tuple[Unit, bytes]]:
    encoded = (encode_varuint(number) for entry in since.items() for number in entry)
    decoder = _TextDecoder(doc.get_update(encode_varuint(len(since)) + b"".join(encoded)))
    decoder.decode()
    return decoder.meta.texts


class _Texts(UpdateMeta):
    """The texts of an update with other characters than ASCII, instead of its metadata."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[Unit, bytes]] = []

    def add_text(self, replica: int, clock: int, text: str) -> None:
        self.texts.append(((replica, clock), text.encode()))


class _TextDecoder(UpdateDecoder):
    meta: _Texts

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.meta = _Texts()


def _encode(root: str, author: int, run: Run) -> bytes:
    """Return an update that writes a run into an empty root type."""
    document: Doc[Any] = Doc(client_id=author)
    if isinstance(run.content, str):
        document.get(root, type=Text).insert(0, run.content)
    else:
        document.get(root, type=Array).extend(run.content)
    update: bytes = document.get_update()
    return update


def _placed(update: bytes, run: Run) -> Iterator[bytes]:
    """Yield the parts of an update whose first struct has the neighbors of the run instead of a parent."""
    if run.left is None and run.right is None:
        yield update
        return
    decoder = Decoder(update)
    for _ in range(4):  # replicas, structs, replica id, clock
        decoder.read_varuint()
    at = decoder.position
    kind = decoder.read_byte()
    assert decoder.read_varuint() == _NAMED_PARENT
    decoder.read_text()
    flags = (_HAS_LEFT if run.left else 0) | (_HAS_RIGHT if run.right else 0)
    yield update[:at]
    yield bytes([kind | flags])
    for unit in (run.left, run.right):
        if unit is not None:
            yield encode_varuint(unit[0]) + encode_varuint(unit[1])
    yield decoder.read_rest()
