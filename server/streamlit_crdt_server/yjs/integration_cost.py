"""Cost of the integration of an update, counted before a document integrates it.

Structs that were inserted at one position at the same time are ordered by comparison: each struct is compared with
those between its neighbors. An update of 20 kB with a row of 1500 structs, and 1500 others that each end before a
different one of them, takes two million comparisons and blocks the process for 0.3 s. Three times as many structs
take nine times as long. An update that could take many comparisons is therefore simulated here with a budget. The
simulation is the same algorithm (YATA, as in `Item.integrate` of Yjs), on runs instead of content, in the order in
which pycrdt integrates structs.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from streamlit_crdt_server.yjs.integration_order import in_order
from streamlit_crdt_server.yjs.update_decoder import Block, Unit, UpdateMeta

MAX_STEPS = 500_000
"""Comparisons: 50 to 150 ms of pycrdt, 100 to 300 ns each. A paste by one person takes none. A list of 3000 items that
20 people wrote from the bottom to the top takes 250 000 when it arrives as one update, as after the loss of a store."""

STEPS_PER_STRUCT = 4
"""Comparisons allowed in addition, per struct. They cost no more than decoding the struct."""

_NO_BLOCK = Block(0, 0, 0, 0)


def check_cost(meta: UpdateMeta) -> None:
    """Raise ValueError if an empty document needs too many comparisons for the number of structs of an update."""
    if meta.max_competitors * meta.structs > MAX_STEPS:
        count_steps(meta, MAX_STEPS + STEPS_PER_STRUCT * meta.structs)


def count_steps(meta: UpdateMeta, max_steps: int) -> int:
    """Return the number of comparisons in an empty document.

    Raises:
        ValueError: There are more than `max_steps`.
    """
    simulation = _IntegrationSimulation(meta, max_steps)
    for index in in_order(meta):
        simulation.integrate(index)
    return simulation.steps


@dataclass(eq=False, slots=True)
class _Sequence:
    """The linked runs of a list, a text, or one key of a map."""

    head: _Run | None = None


@dataclass(eq=False, slots=True)
class _Run:
    """A run of structs, or a part of a run that was split by an insertion."""

    unit: Unit
    structs: int
    left: Unit | None = None
    right: Unit | None = None
    sequence: _Sequence = field(default_factory=_Sequence)
    next: _Run | None = None


class _ReplicaRuns:
    """The runs of one replica, sorted by clock."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._runs: list[_Run] = []

    def add(self, run: _Run) -> None:
        index = bisect_right(self._starts, run.unit[1])
        self._starts.insert(index, run.unit[1])
        self._runs.insert(index, run)

    def containing(self, clock: int) -> _Run | None:
        index = bisect_right(self._starts, clock) - 1
        return self._runs[index] if index >= 0 else None

    def starting_at(self, clock: int) -> _Run | None:
        """Return the run that starts at `clock`. Split the run that contains `clock` if necessary."""
        run = self.containing(clock)
        if run is None or run.unit[1] == clock:
            return run
        units = clock - run.unit[1]
        rest = _Run(
            (run.unit[0], clock),
            max(run.structs - units, 1),
            (run.unit[0], clock - 1),
            run.right,
            run.sequence,
            run.next,
        )
        run.structs, run.next = min(run.structs, units), rest
        self.add(rest)
        return rest


class _IntegrationSimulation:
    """Positions of the runs of an update in an empty document.

    Each unit that the update refers to and does not contain is a run in a sequence of its own.
    """

    def __init__(self, meta: UpdateMeta, max_steps: int) -> None:
        self.steps = 0
        self._max_steps = max_steps
        self._meta = meta
        self._runs = {replica: _ReplicaRuns() for replica in meta.blocks}
        self._external_runs: dict[Unit, _Run] = {}
        self._sequences: dict[int, _Sequence] = {}

    def integrate(self, index: int) -> None:
        """Insert a run at its position."""
        unit, left_unit, right_unit, parent, before = self._meta.run(index)
        left = None if left_unit is None else self._run_ending_with(left_unit)
        right = None if right_unit is None else self._run_starting_with(right_unit)
        is_last = index + 1 >= self._meta.run_count
        following = self._meta.structs if is_last else self._meta.run(index + 1)[4]
        run = _Run(unit, following - before, left_unit, right_unit, self._sequence(left, right, parent))
        self._runs[unit[0]].add(run)
        other = run.sequence.head if left is None else left.next
        if other is not right:
            left = self._find_left(run, left, other, right)
        if left is None:
            run.next, run.sequence.head = run.sequence.head, run
        else:
            run.next, left.next = left.next, run

    def _find_left(self, run: _Run, left: _Run | None, other: _Run | None, right: _Run | None) -> _Run | None:
        """Compare `run` with the runs between its neighbors, and return the run that it comes after."""
        passed, conflicting = set[int](), set[int]()
        while other is not None and other is not right:
            self.steps += other.structs
            if self.steps > self._max_steps:
                raise ValueError("too many of its structs compete for the same position")
            passed.add(id(other))
            conflicting.add(id(other))
            if other.left == run.left:
                if other.unit[0] < run.unit[0]:
                    left = other
                    conflicting.clear()
                elif other.right == run.right:
                    break
            elif other.left is not None and id(self._run_containing(other.left)) in passed:
                if id(self._run_containing(other.left)) not in conflicting:
                    left = other
                    conflicting.clear()
            else:
                break
            other = other.next
        return left

    def _sequence(self, left: _Run | None, right: _Run | None, parent: int) -> _Sequence:
        if left is not None:
            return left.sequence
        return right.sequence if right is not None else self._sequences.setdefault(parent, _Sequence())

    def _run_starting_with(self, unit: Unit) -> _Run:
        found = self._runs[unit[0]].starting_at(unit[1]) if self._contains(unit) else None
        return found or self._external_run(unit)

    def _run_ending_with(self, unit: Unit) -> _Run:
        if self._contains(unit) and self._runs[unit[0]].containing(unit[1]) is not None:
            self._runs[unit[0]].starting_at(unit[1] + 1)
        return self._run_containing(unit)

    def _run_containing(self, unit: Unit) -> _Run:
        found = self._runs[unit[0]].containing(unit[1]) if self._contains(unit) else None
        return found or self._external_run(unit)

    def _contains(self, unit: Unit) -> bool:
        block = self._meta.blocks.get(unit[0], _NO_BLOCK)
        return block.start <= unit[1] < block.end

    def _external_run(self, unit: Unit) -> _Run:
        """Return the run of a unit that is in another update."""
        if unit not in self._external_runs:
            self._external_runs[unit] = run = _Run(unit, 1)
            run.sequence.head = run
        return self._external_runs[unit]
