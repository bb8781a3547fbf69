"""One session in one room: the replica, its mirror in the session's state, its link to the tab, its way to the room."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import streamlit as st
from streamlit.errors import StreamlitAPIException

from streamlit_crdt import _compat
from streamlit_crdt.assets import build_id
from streamlit_crdt.channel import Frame, TabLink
from streamlit_crdt.errors import UpdateRefusedError, ValueNotShareableError
from streamlit_crdt.message import CHANNEL_KEY_PREFIX, Message
from streamlit_crdt.mirror import Mirror
from streamlit_crdt.place import Place
from streamlit_crdt.replica import LOCAL, ROOM, Replica
from streamlit_crdt.room import Status
from streamlit_crdt.widgets import REFUSED
from streamlit_crdt_server import LocalPeer, ServerError

_log = logging.getLogger("streamlit_crdt")

PRIVATE_PREFIX: Final = "crdt-private:"
HOLD_S: Final = 3.0
"""How long a first run waits for a tab to reach a stand-alone server before it goes on with local values."""

REOPEN_AFTER_S: Final = 5.0
"""How long a room that could not be joined is left alone; an attempt may take seconds."""

_TAB_ERRORS: Final = {
    "mixed-content": "the page is served over https, so the browser refuses the room server's plain ws:// address; "
    "serve the app with  streamlit-crdt run app.py  or st.App(..., **crdt_app()), which use the page's own port.",
    "old-build": "a tab still runs an older build of the frontend; it asks its user to reload the page.",
    "refused": "the room server refused the tab's socket.",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which keys are shared: globs over keys, `private` winning over `keys` (rule P8)."""

    keys: tuple[str, ...] | None = None
    private: tuple[str, ...] = ()

    def shares(self, key: str) -> bool:
        if key.startswith((PRIVATE_PREFIX, CHANNEL_KEY_PREFIX)) or _matches(key, self.private):
            return False
        return self.keys is None or _matches(key, self.keys)

    def joined(self, other: Selection) -> Selection:
        """Return what two calls for one room share together: what is private to either is private (rule P8)."""
        keys = None if self.keys is None or other.keys is None else (*self.keys, *other.keys)
        return Selection(keys, (*self.private, *other.private))


def _matches(key: str, globs: tuple[str, ...]) -> bool:
    return any(key == glob or fnmatchcase(key, glob) for glob in globs)


class Binding:
    """A session's membership in a room. Made by the first `crdt_sync` of the session for that room."""

    def __init__(self, room: str, place: Place) -> None:
        self.room = room
        self.place = place
        self.selection = Selection()
        self.replica = Replica()
        self.mirror = Mirror(self.replica, lambda key: self.selection.shares(key))
        self.link = TabLink(self.replica, build=build_id())
        self.channel_fragment: str | None = None
        self.status_was_read = False
        self._peer: LocalPeer | None = None
        self._peer_lock = threading.Lock()
        self._held_since: float | None = None
        self._rerun_owed = False
        self._explained: set[str] = set()
        self._mounted_version = 0
        self._pushed: Future[None] | None = None
        self._open_not_before = 0.0
        self._was_elsewhere = False
        self._was_synced = False
        self._private_later: tuple[str, ...] = ()
        self._reported: set[str] = set()
        self.replica.subscribe(self._write_through)

    def select(self, selection: Selection, *, again: bool) -> None:
        """Choose what is shared. What only a later call of a run names as private stays so at the top of the next."""
        if again:
            self._private_later = tuple({*self._private_later, *selection.private})
            self.selection = self.selection.joined(selection)
        else:
            self.selection = selection.joined(Selection(selection.keys, self._private_later))

    # -- the way to the room -------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Join the room where it lives in this process, and take over what it holds."""
        with self._peer_lock:
            if self._peer is not None and self._peer.is_closed:
                self._peer = None  # the room ended, as when its server stopped
            opened = self._peer is None and self._open()
        if opened and self.replica.version:
            self._write_through(self.replica.diff(), LOCAL)
        self.drain()

    def _open(self) -> bool:
        """Join the room. A room that cannot be joined does not keep the app from running; it is tried again."""
        if time.monotonic() < self._open_not_before:
            return False
        try:
            self._peer = self.place.open(self.room)
        except ServerError as error:
            self._open_not_before = time.monotonic() + REOPEN_AFTER_S
            _log.warning("room %r cannot be joined, the app goes on with local values: %s", self.room, error)
        return self._peer is not None

    def step_out(self) -> None:
        """Leave the room because the session is in another one now."""
        self.detach()
        self._was_elsewhere = True

    def detach(self) -> None:
        with self._peer_lock:
            peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()

    def drain(self) -> None:
        """Apply what others wrote into the room in this process."""
        peer = self._peer
        update = peer.drain() if peer is not None else None
        if update:
            try:
                self.replica.apply(update, origin=ROOM)
            except UpdateRefusedError:
                _log.exception("room %r sent an update that cannot be applied", self.room)

    def _write_through(self, update: bytes, origin: str) -> None:
        peer = self._peer
        if peer is not None and origin != ROOM:
            self._pushed = peer.push(update)
            self._pushed.add_done_callback(functools.partial(self._check_pushed, peer))

    def _check_pushed(self, peer: LocalPeer, pushed: Future[None]) -> None:
        """Leave a room that did not take an update; the next run joins it again and brings everything along."""
        error = None if pushed.cancelled() else pushed.exception()
        if error is not None and self._peer is peer:
            _log.warning(
                "room %r did not take an edit (%s); it is offered again with the next run", self.room, error
            )
            self.detach()

    def flush(self, timeout_s: float) -> bool:
        """Wait until the room in this process has applied what this session wrote; say whether it has."""
        pushed = self._pushed
        if pushed is not None:
            wait([pushed], timeout_s)
        return pushed is None or (pushed.done() and pushed.exception() is None)

    @property
    def synced(self) -> bool:
        """Whether the room's content has been here; before that nothing is written (rule R4).

        It stays so when a tab that reloads, or is mounted anew, has yet to find the room again.
        """
        self._was_synced = self._was_synced or self._peer is not None or self.link.synced
        return self._was_synced

    @property
    def status(self) -> Status:
        return "connected" if self._peer is not None else self.link.status

    # -- a run ---------------------------------------------------------------------------------------------------

    def begin_run(self, message: Message | None, *, remote: bool) -> list[str]:
        """Local first, then merge, then write remote values. Returns the keys that were written."""
        self.status_was_read = False
        if self._was_elsewhere:
            self._was_elsewhere = False
            self.mirror.start_over()
        state = st.session_state.to_dict()
        self._report(self._push(state, message, remote=remote, at_top=True))
        self.drain()
        self.mirror.begin_run()
        return self._write_remote(state)

    def _write_remote(self, state: Mapping[str, Any]) -> list[str]:
        written = []
        for write in self.mirror.plan(state):
            try:
                if write.delete:
                    del st.session_state[write.key]
                else:
                    st.session_state[write.key] = write.value
            except StreamlitAPIException as error:
                self.mirror.cannot_write(write, error)
                continue
            self.mirror.wrote(write, state)
            written.append(write.key)
        return written

    def assign(self, key: str, value: Any) -> None:
        """Set one shared value; this session's script sees it from its next run on.

        Raises:
            ValueNotShareableError: the value has no shared form, or the key is private (rule P8).
        """
        if not self.selection.shares(key):
            raise ValueNotShareableError(type(value).__name__, "its key is private", key=key)
        self.replica.set(key, value)

    def remove(self, key: str) -> None:
        self.replica.delete(key)

    def push_now(self, message: Message | None, *, remote: bool) -> list[ValueNotShareableError]:
        """Push what the block assigned."""
        state = st.session_state.to_dict()
        self.mirror.check_drawn(state)
        return self._push(state, message, remote=remote)

    def _push(
        self, state: Mapping[str, Any], message: Message | None, *, remote: bool = False, at_top: bool = False
    ) -> list[ValueNotShareableError]:
        ctx = _compat.script_context()
        assigned = {key for key in state if ctx.session_state.is_new_state_value(key)}
        for key in _compat.widget_keys(ctx) - self.mirror.widgets.keys():
            self.mirror.exclude_key(key)  # a widget all the same, if one that its making did not tell us of
        return self.mirror.push(
            state, message, synced=self.synced, remote=remote, at_top=at_top, assigned=assigned
        )

    def end_run(
        self, ctx: Any, state: Mapping[str, Any], message: Message | None, *, complete: bool, remote: bool
    ) -> None:
        """Close a full run, however it ended."""
        self.mirror.check_drawn(state)
        self._report(self._push(state, message, remote=remote))
        self.mirror.end_run(complete=complete, remote=remote)
        self._request_runs(ctx)

    def end_fragment(self, ctx: Any, state: Mapping[str, Any], message: Message | None) -> None:
        """Push what a rerun of one of the app's own fragments changed."""
        self.mirror.check_drawn(state)
        self._report(self._push(state, message))
        self._request_runs(ctx)

    def _report(self, errors: list[ValueNotShareableError]) -> None:
        """Log each refusal once: the value is there at every run."""
        for error in errors:
            if (text := str(error)) not in self._reported:
                self._reported.add(text)
                _log.warning("%s", text)

    def _request_runs(self, ctx: Any) -> None:
        if self._rerun_owed:
            self._rerun_owed = False
            _compat.request_rerun(ctx, None)
        elif self._peer is None and self.channel_fragment and self.replica.version > self._mounted_version:
            _compat.request_rerun(ctx, self.channel_fragment)

    def replace_waiting(self, state: _compat.RawState, key: str, local: Any) -> None:
        """Put the value that a widget can show in the place of the one that waits for it."""
        if local is REFUSED:
            state.discard(key)
        else:
            state.replace(key, local)

    # -- the tab -------------------------------------------------------------------------------------------------

    @property
    def channel_key(self) -> str:
        return CHANNEL_KEY_PREFIX + self.room

    def holds(self) -> bool:
        """Say whether this first run should wait for the tab to bring the room's values (no flash of defaults)."""
        if self.synced or self.link.status == "offline" or not self.place.tab_brings_the_room:
            return False
        if self._held_since is None:
            self._held_since = time.monotonic()
        return time.monotonic() - self._held_since < HOLD_S

    def frame(self) -> bytes:
        """Return the next frame to the tab."""
        self._mounted_version = self.replica.version
        tab_hears_the_room = self._peer is not None and self.link.status == "connected"
        return self.link.frame(
            room=self.room,
            socket=self.place.socket(self.room),
            poll_s=self.place.poll_s,
            settle=False,
            confirm=self.mirror.deliveries if self.mirror.awaits_confirmation else None,
            own=[self.replica.replica_id],
            with_update=not tab_hears_the_room,
        )

    def receive(self, frame: Frame, message: Message | None) -> bool:
        """Apply a frame of the tab; return whether the script must run."""
        was = self.link.status, self.link.synced
        self.drain()  # first, or what the room has already would be offered to it once more
        self.link.receive(frame)
        self._explain(self.link.error)
        missed = self.mirror.confirm(self.link.confirmed, message, st.session_state.to_dict())
        changed = (self.link.status, self.link.synced) != was
        if self._held_since is not None and (self.synced or self.link.status == "offline"):
            self._held_since = None
            return True
        if changed and (self.status_was_read or self.link.synced != was[1]) and self._peer is None:
            return True
        return missed or self.mirror.needs_run()

    def _explain(self, error: str | None) -> None:
        if error is not None and error not in self._explained:
            self._explained.add(error)
            _log.warning("room %r: %s", self.room, _TAB_ERRORS.get(error, error))

    def owe_rerun(self) -> None:
        """Ask for a full run once the present one is over."""
        self._rerun_owed = True
