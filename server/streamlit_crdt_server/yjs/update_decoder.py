"""Decoder of Yjs updates (v1) that checks their form and collects their metadata.

pycrdt's decoder in Rust is fast and trusts its input. Measured with pycrdt 0.14.13: an update of 200 kB with
100 000 nested arrays overflows the stack and ends the process, with no exception to catch; a struct of length 0
panics and damages the document for good; a state vector of 18 bytes allocates 1 GB. This module therefore checks
lengths, counts and depth before pycrdt sees an update. Apart from the metadata in `UpdateMeta`, it does not
interpret structs.

The layout is that of Yjs' `UpdateEncoderV1` (https://github.com/yjs/yjs, `src/utils/encoding.js`) and of lib0's
`writeAny`. A content type that Yjs 13 does not support is refused, because a browser could not read it either. Two
that only old versions of Yjs wrote are refused, because pycrdt reads other structs from these bytes than this module
would check: it reads one text too many of a JSON content, and not the name of an XML hook.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import NamedTuple

from streamlit_crdt_server.yjs.lib0 import MAX_VARUINT, Decoder
from streamlit_crdt_server.yjs.pacing import PAUSE_EVERY, pause

Unit = tuple[int, int]
"""Replica id and clock of one element."""

Parent = tuple[Unit | str, ...]
"""Id of the parent or name of the root type, and the key if the struct is an entry of a map."""

_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_NO_UNIT = (-1, -1)
_RUN = Struct("=8q")


class Block(NamedTuple):
    """The structs of one replica in an update: indexes of its runs, and its clocks. Both ranges are half-open."""

    first_run: int
    end_run: int
    start: int
    end: int


class UpdateMeta:
    """Metadata of one update.

    Most structs continue the struct before them: they lie directly behind it, and have the same right neighbor.
    A sequence of such structs is a *run*. Only the first struct of each run is stored here, in packed form, so that
    a large paste costs little.

    Attributes:
        reach: Clock after the last unit that the update inserts or deletes, per replica id.
        blocks: Structs per replica id.
        structs: Number of structs.
        deletions: Replica id, first clock and end clock of each deletion, as one flat array.
        surrogates: Clocks of the low surrogates (second halves of surrogate pairs), per replica id.
        holes: First clocks of the structs without content, collected or left out, per replica id.
        type_runs: Indexes of the runs with shared types.
        format_runs: Indexes of the runs with formats, which have no position in their parent.
        nested_parents: Number of the places inside of shared types that structs name as their parents.
    """

    def __init__(self) -> None:
        self.reach: dict[int, int] = {}
        self.blocks: dict[int, Block] = {}
        self._ends: dict[int, int] = {}
        self.structs = 0
        self.deletions = array("q")
        self.surrogates: dict[int, array[int]] = {}
        self.holes: dict[int, array[int]] = {}
        self.type_runs = array("q")
        self.format_runs = array("q")
        self._texts = array("q")
        self._wide = array("q")
        self.nested_parents = 0
        self._gap_ends: dict[int, int] = {}
        self._runs = bytearray()
        self._parents: dict[Parent, int] = {}
        self._right: Unit | None = _NO_UNIT
        self._open_block = (0, 0)

    @property
    def run_count(self) -> int:
        return len(self._runs) // _RUN.size

    @property
    def max_competitors(self) -> int:
        """Upper limit of the structs that compete with others for a position.

        The first struct of a parent, or of a key, does not compete.
        """
        return 2 * (self.run_count - len(self._parents))

    def begin_block(self, replica: int, clock: int) -> None:
        """Begin the structs of a replica."""
        if replica in self.blocks:
            raise ValueError("the structs of one replica come twice")
        self._right = _NO_UNIT
        self._open_block = (self.run_count, clock)

    def end_block(self, replica: int, clock: int) -> None:
        """End the structs of a replica before `clock`."""
        first_run, start = self._open_block
        self.blocks[replica] = Block(first_run, self.run_count, start, clock)
        self._ends[replica] = clock
        self._extend_reach(replica, clock)

    def add_struct(self, unit: Unit, left: Unit | None, right: Unit | None, parent: Parent | None) -> None:
        """Add a struct with its neighbors, or with its parent and key if it has no neighbors."""
        before = self.structs
        self.structs = before + 1
        if left is not None and left[1] == unit[1] - 1 and left[0] == unit[0] and right == self._right:
            return
        self._right = right
        number = -1 if parent is None else self._number_of(parent)
        self._runs += _RUN.pack(*unit, *(left or _NO_UNIT), *(right or _NO_UNIT), number, before)

    def _number_of(self, parent: Parent) -> int:
        number = self._parents.get(parent)
        if number is None:
            number = self._parents[parent] = len(self._parents)
            self.nested_parents += isinstance(parent[0], tuple)
        return number

    def add_type(self) -> None:
        """Note that the last added struct is a shared type."""
        last = self.run_count - 1
        if not self.type_runs or self.type_runs[-1] != last:
            self.type_runs.append(last)

    def add_format(self) -> None:
        """Note that the last added struct is a format."""
        self.format_runs.append(self.run_count - 1)

    def add_deletion(self, replica: int, start: int, end: int) -> None:
        self.deletions.extend((replica, start, end))
        self._extend_reach(replica, end)

    def add_hole(self, replica: int, clock: int, end: int, *, is_gap: bool) -> None:
        """Add a struct without content from `clock` to before `end`. `is_gap`: the update leaves it out."""
        self.holes.setdefault(replica, array("q")).append(clock)
        self._right = _NO_UNIT
        if is_gap:
            self._gap_ends[replica] = end

    def add_text(self, replica: int, clock: int, text: str) -> None:
        """Add the low surrogates of a text that begins at `clock`."""
        found = [clock + match.start() + 1 + index for index, match in enumerate(_ASTRAL.finditer(text))]
        if found:
            self.surrogates.setdefault(replica, array("q")).extend(found)

    def add_text_range(self, clock: int, end: int) -> None:
        """Note that the last added struct is the text from `clock` to before `end`."""
        run = self.run_count - 1
        if self._texts and self._texts[-1] == clock and self._texts[-3] == run:
            self._texts[-1] = end
        else:
            self._texts.extend((run, clock, end))

    def text_ranges(self) -> Iterator[tuple[int, tuple[int, int, int]]]:
        """Yield the index of the run, the replica id, the first clock and the end clock of each text."""
        for index in range(0, len(self._texts), 3):
            run, start, end = self._texts[index : index + 3]
            yield run, (self.run(run)[0][0], start, end)

    def add_wide_struct(self, clock: int, end: int) -> None:
        """Note that the last added struct has several units of content, which another struct may split."""
        self._wide.extend((self.run_count - 1, clock, end))

    def wide_structs(self) -> Iterator[tuple[int, int, int]]:
        """Yield the index of the run, the first clock and the end clock of each struct that may be split."""
        for index in range(0, len(self._wide), 3):
            yield self._wide[index], self._wide[index + 1], self._wide[index + 2]

    def ends(self) -> Mapping[int, int]:
        """Return the end clock of the structs per replica id."""
        return self._ends

    def count_insertions(self) -> int:
        """Return the number of runs whose position may depend on content that is not before them in the update.

        A run behind a struct of its own replica in the update, or in a new type of it, competes with nothing else.
        """
        if self.run_count <= 1 or self._gap_ends:
            return self.run_count
        count, parents = 0, self.parents if self.nested_parents else ()
        starts = {replica: block.start for replica, block in self.blocks.items()}
        for replica, _, left, left_clock, right, right_clock, number, _ in _RUN.iter_unpack(self._runs):
            if left < 0:
                parent = parents[number][0] if parents and number >= 0 else ""
                left, left_clock = parent if isinstance(parent, tuple) else _NO_UNIT
            start = starts[replica]
            count += (
                left != replica
                or left_clock < start
                or (right >= 0 and (right != replica or right_clock < start))
            )
        return count

    def needed_clocks(self) -> dict[int, int]:
        """Return the state vector that a document needs to integrate the whole update, per replica id."""
        needed = {replica: self._gap_ends.get(replica, block.start) for replica, block in self.blocks.items()}
        ends = self._ends
        for replica, end in self._referenced():
            if end > ends.get(replica, 0) and end > needed.get(replica, 0):  # the update does not contain it
                needed[replica] = end
        return needed

    def needs_ordering(self) -> bool:
        """Return whether a struct depends on a unit of the update that is no earlier unit of its own replica."""
        ends, parents = self._ends, self.parents if self.nested_parents else ()
        for replica, clock, left, left_clock, right, right_clock, number, _ in _RUN.iter_unpack(self._runs):
            if left >= 0 and left_clock < ends.get(left, 0) and not (left == replica and left_clock < clock):
                return True
            if (
                right >= 0
                and right_clock < ends.get(right, 0)
                and not (right == replica and right_clock < clock)
            ):
                return True
            parent = parents[number][0] if parents and number >= 0 else ""
            if (
                isinstance(parent, tuple)
                and parent[1] < ends.get(parent[0], 0)
                and not (parent[0] == replica and parent[1] < clock)
            ):
                return True
        return False

    def _referenced(self) -> Iterator[Unit]:
        """Yield the replica id and the end clock of each neighbor, parent and deletion."""
        for _, _, left, left_clock, right, right_clock, _, _ in _RUN.iter_unpack(self._runs):
            if left >= 0:
                yield left, left_clock + 1
            if right >= 0:
                yield right, right_clock + 1
        if self.nested_parents:
            for parent in self._parents:
                if isinstance(parent[0], tuple):
                    yield parent[0][0], parent[0][1] + 1
        if self.deletions:
            yield from zip(self.deletions[::3], self.deletions[2::3], strict=True)

    @property
    def parents(self) -> Sequence[Parent]:
        """Parents of structs without neighbors, by their number."""
        return list(self._parents)

    def run(self, index: int) -> tuple[Unit, Unit | None, Unit | None, int, int]:
        """Return the first struct of a run.

        Returns:
            Its unit, its left and right neighbor, the number of its parent or -1, and the number of structs before it.
        """
        a, b, c, d, e, f, parent, before = _RUN.unpack_from(self._runs, index * _RUN.size)
        return (a, b), None if c < 0 else (c, d), None if e < 0 else (e, f), parent, before

    def split_points(self) -> Iterator[Unit]:
        """Yield the units before which the update inserts. Existing structs are split there."""
        for index in range(self.run_count):
            _, left, right, _, _ = self.run(index)
            if left is not None:
                yield left[0], left[1] + 1
            if right is not None:
                yield right

    def advance(self, clocks: dict[int, int]) -> None:
        """Change a state vector to that of the document after it applied this update."""
        for replica, block in self.blocks.items():
            if block.start <= clocks.get(replica, 0) < block.end:
                clocks[replica] = block.end

    def _extend_reach(self, replica: int, clock: int) -> None:
        if clock > self.reach.get(replica, 0):
            self.reach[replica] = clock


_HAS_LEFT, _HAS_RIGHT, _HAS_PARENT_KEY, _CONTENT = 0x80, 0x40, 0x20, 0x1F
_COLLECTED, _DELETED, _SKIPPED = 0, 1, 10
_XML_ELEMENT, _XML_HOOK = 3, 5
_TYPE_COUNT = 7

MAX_CLOCK = 2**32 - 1
"""Largest clock. pycrdt drops the higher bits of a larger one, and would read another update than this module."""


def _checked_clock(clock: int) -> int:
    if clock > MAX_CLOCK:
        raise ValueError(f"a clock is larger than {MAX_CLOCK}")
    return clock


def check_update(update: bytes) -> dict[int, int]:
    """Return `UpdateMeta.reach` of an update.

    Raises:
        ValueError: The update is not well formed to its last byte; the text says what is wrong.
    """
    return read_update_meta(update).reach


def read_update_meta(update: bytes) -> UpdateMeta:
    """Return the metadata of an update.

    Raises:
        ValueError: The update is not well formed to its last byte; the text says what is wrong.
    """
    decoder = UpdateDecoder(update)
    decoder.decode()
    return decoder.meta


def decode_state_vector(vector: bytes, max_clock: int = MAX_VARUINT) -> dict[int, int]:
    """Return the clock per replica id.

    Raises:
        DecodeError: The state vector is not well formed to its last byte, or a clock exceeds `max_clock`.
    """
    decoder = Decoder(vector)
    clocks = {}
    for index in range(decoder.read_count(min_element_bytes=2)):
        if not index % PAUSE_EVERY:
            pause()
        replica = decoder.read_varuint()
        clocks[replica] = decoder.read_varuint(max_clock)
    decoder.expect_end()
    return clocks


class UpdateDecoder(Decoder):
    """A cursor over the structs and deletions of one update, which collects `meta`."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.meta = UpdateMeta()
        self._replica = self._clock = 0
        self._content_at = self._deletions_at = 0

    def decode(self) -> None:
        """Decode the whole update.

        Raises:
            ValueError: The update is not well formed to its last byte.
        """
        for _ in range(self.read_count()):
            structs = self.read_count()
            self._replica, self._clock = self._read_unit()
            self.begin_block(self._replica, self._clock)
            for index in range(structs):
                self._clock += self.read_struct()
                if not index % PAUSE_EVERY:
                    pause()
            self.meta.end_block(self._replica, _checked_clock(self._clock))
        self._deletions_at = self._at
        for _ in range(self.read_count()):
            replica = self.read_varuint()
            for index in range(self.read_count()):
                if not index % PAUSE_EVERY:
                    pause()
                clock = self.read_varuint(MAX_CLOCK)
                self.meta.add_deletion(replica, clock, _checked_clock(clock + self.read_positive()))
        self.expect_end()

    def begin_block(self, replica: int, clock: int) -> None:
        """Begin the structs of a replica."""
        self.meta.begin_block(replica, clock)

    def read_struct(self) -> int:
        """Read a struct and return its length in units, by which its replica's clock advances."""
        information = self.read_byte()
        if information in (_COLLECTED, _SKIPPED):
            self.meta.structs += 1
            self._content_at = self._at
            length = self.read_positive()
            end = self._clock + length
            self.meta.add_hole(self._replica, self._clock, end, is_gap=information == _SKIPPED)
            return length
        left = self._read_unit() if information & _HAS_LEFT else None
        right = self._read_unit() if information & _HAS_RIGHT else None
        parent: Parent | None = None
        if left is None and right is None:
            parent = self._read_parent(bool(information & _HAS_PARENT_KEY))
        self.meta.add_struct((self._replica, self._clock), left, right, parent)
        self._content_at = self._at
        kind = information & _CONTENT
        read_content = _CONTENTS.get(kind)
        if read_content is None:
            raise ValueError(f"content type {kind} is not supported")
        length = read_content(self)
        if length > 1 and kind != _DELETED:
            self.meta.add_wide_struct(self._clock, self._clock + length)
        return length

    def _read_unit(self) -> Unit:
        return self.read_varuint(), self.read_varuint(MAX_CLOCK)

    def _read_parent(self, has_key: bool) -> Parent:
        """Return the parent of a struct without neighbors, and its key if it has one."""
        is_named = self.read_varuint()
        if is_named > 1:
            raise ValueError("a parent is neither a name nor an id")
        parent: Unit | str = self.read_text() if is_named else self._read_unit()
        return (parent, self.read_text()) if has_key else (parent,)

    def _read_element_count(self) -> int:
        count = self.read_count()
        if count == 0:
            raise ValueError(f"an element before byte {self._at} has length 0")
        return count

    def _read_binary(self) -> int:
        self.skip(self.read_varuint())
        return 1

    def _read_string(self) -> int:
        text = self.read_text()
        if not text:
            raise ValueError("a text is empty")
        if text.isascii():
            length = len(text)
        else:
            self.meta.add_text(self._replica, self._clock, text)
            length = len(text.encode("utf-16-le")) // 2
        self.meta.add_text_range(self._clock, self._clock + length)
        return length

    def _read_embed(self) -> int:
        self.read_text()
        return 1

    def _read_format(self) -> int:
        self.meta.add_format()
        self.read_text()
        self.read_text()
        return 1

    def _read_type(self) -> int:
        kind = self.read_varuint()
        if kind >= _TYPE_COUNT or kind == _XML_HOOK:
            raise ValueError(f"shared type {kind} is not supported")
        self.meta.add_type()
        if kind == _XML_ELEMENT:
            self.read_text()
        return 1

    def _read_any(self) -> int:
        count = self._read_element_count()
        for index in range(count):
            self.skip_any()
            if not index % PAUSE_EVERY:
                pause()
        return count

    def _read_subdocument(self) -> int:
        self.read_text()
        self.skip_any()
        return 1


_CONTENTS: dict[int, Callable[[UpdateDecoder], int]] = {
    _DELETED: UpdateDecoder.read_positive,
    3: UpdateDecoder._read_binary,
    4: UpdateDecoder._read_string,
    5: UpdateDecoder._read_embed,
    6: UpdateDecoder._read_format,
    7: UpdateDecoder._read_type,
    8: UpdateDecoder._read_any,
    9: UpdateDecoder._read_subdocument,
}
