"""What a flush leaves to be saved: an update, and everybody who waits to hear that it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pycrdt import merge_updates

from streamlit_crdt_server.batch import Entry
from streamlit_crdt_server.peer import Peer


@dataclass(slots=True)
class Unsaved:
    """One flush, from its being sent to its being saved.

    Attributes:
        update: What is to be stored; None if nothing was changed, and only the order is to be kept.
        echo_to: Who gets the update back as confirmation.
        entries: The updates that it consists of, as they came.
        foreign: What it holds besides: changes that server code made to the document.
        questions: Who asked whether everything before is saved, and under which version.
        is_shared: Whether the senders have been given each other's updates, ahead of their own.
        since: When it was sent to the others.
    """

    update: bytes | None = None
    echo_to: set[Peer] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    foreign: bytes | None = None
    questions: dict[Peer, int] = field(default_factory=dict)
    is_shared: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def has_mates(self) -> bool:
        """Whether some of those who wait for the confirmation lack each other's updates meanwhile."""
        return not self.is_shared and (len(self.echo_to) > 1 or bool(self.echo_to and self.foreign))

    def shares(self) -> Mapping[Peer, bytes]:
        """What each sender lacks of its own batch: all but its own updates."""
        updates = [(entry.peer, entry.update) for entry in self.entries]
        foreign = [] if self.foreign is None else [self.foreign]
        shares = {}
        for peer in self.echo_to:
            others = [*foreign, *(update for sender, update in updates if sender is not peer)]
            if others:
                shares[peer] = others[0] if len(others) == 1 else merge_updates(*others)
        return shares


def join(batches: Sequence[Unsaved]) -> Unsaved:
    """Make one of several that follow each other, so that what waits for long costs little.

    The senders must have been given each other's updates: who sent what is forgotten.
    """
    joined = Unsaved(merged(batches), is_shared=True, since=batches[0].since)
    for batch in batches:
        joined.echo_to |= batch.echo_to
        joined.entries += (
            replace(entry, update=b"", reach={}) for entry in batch.entries if entry.done is not None
        )
        joined.questions |= batch.questions
    return joined


def merged(batches: Sequence[Unsaved]) -> bytes | None:
    """Merge the updates of several into one; None if none of them has any."""
    updates = [batch.update for batch in batches if batch.update is not None]
    if len(updates) > 1:
        return merge_updates(*updates)
    return updates[0] if updates else None
