"""Order in which a document integrates the structs of one update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamlit_crdt_server.yjs.update_decoder import Block, Parent, Unit, UpdateMeta

_NO_BLOCK = Block(0, 0, 0, 0)


def in_order(meta: UpdateMeta) -> Iterator[int]:
    """Yield the indexes of the runs: highest replica id first, and before each run the runs that it depends on.

    Ends early if runs depend on each other in a circle.
    """
    parents = meta.parents
    next_run = {replica: block.first_run for replica, block in meta.blocks.items()}

    def is_missing(unit: Unit) -> bool:
        """Return whether a unit is in a run of the update that was not yielded yet."""
        _, end_run, start, end = meta.blocks.get(unit[0], _NO_BLOCK)
        index = next_run.get(unit[0], end_run)
        return start <= unit[1] < end and index < end_run and meta.run(index)[0][1] <= unit[1]

    for replica in sorted(meta.blocks, reverse=True):
        stack = [replica]
        while stack:
            index = next_run[stack[-1]]
            if index >= meta.blocks[stack[-1]].end_run:
                stack.pop()
                continue
            missing = next(
                (unit[0] for unit in _dependencies(meta, index, parents) if is_missing(unit)), None
            )
            if missing is None:
                next_run[stack[-1]] += 1
                yield index
                if len(stack) > 1:
                    stack.pop()
            elif missing in stack:
                return
            else:
                stack.append(missing)


def is_circular(meta: UpdateMeta) -> bool:
    """Return whether structs of the update depend on each other in a circle, so that no document integrates them."""
    return meta.needs_ordering() and sum(1 for _ in in_order(meta)) < meta.run_count


def _dependencies(meta: UpdateMeta, index: int, parents: Sequence[Parent]) -> Iterator[Unit]:
    """Yield the neighbors of a run, or the id of its parent."""
    _, left, right, parent, _ = meta.run(index)
    if left is not None:
        yield left
    if right is not None:
        yield right
    if parent >= 0 and isinstance(unit := parents[parent][0], tuple):
        yield unit
