"""One simulated user: an AppTest, the library's session of its script, and its network to the rooms.

A tab in a browser reruns its session when a remote edit concerns the session. An AppTest has no tab, so this module
decides when a tab would do so.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamlit.testing.v1 import AppTest

from streamlit_crdt import _compat
from streamlit_crdt.binding import VisibleValue, class_of, digest_of, remote_writes
from streamlit_crdt.binding.inspection import visible_values
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.session import Session
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.testing.network import SimulatedNetwork


class SimulatedUser:
    """A user who has the app open.

    Attributes:
        app: the page, used by the test.
        network: connection to the rooms.
        key: id of the session.
    """

    def __init__(self, app: AppTest, network: SimulatedNetwork) -> None:
        self.app = app
        self.network = network
        self.key = _compat.key_of_app_test(app)
        self._causes: dict[str, None] = {}
        self._causes_page: object = None
        self._mounted_rooms: set[RoomSession] = set()
        self._drafts: dict[str, tuple[str, int]] = {}
        self._draft_count = 0
        self._drafts_page: object = None

    @property
    def session(self) -> Session | None:
        """The library's session; None before the script has entered a room."""
        return registry.get(self.key)

    @property
    def rooms(self) -> tuple[RoomSession, ...]:
        """The rooms of the session after its last run."""
        return () if self.session is None else self.session.rooms

    @property
    def _page(self) -> object:
        """Identity of the last run's page: a new object after each run."""
        return self.app.main if len(self.app) else None

    # -- network -------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Disconnect from all rooms. Later edits stay in the session's replica."""
        self.network.is_cut = True
        for room_session in self.rooms:
            room_session.detach()
            if room_session.tab.status_read is not None:
                self._add_causes("its status")

    def heal(self) -> None:
        """Reconnect to all rooms, and merge in both directions."""
        self.network.is_cut = False
        for room_session in self.rooms:
            self._reattach(room_session)

    def _reattach(self, room_session: RoomSession) -> None:
        unsaved, save_status = room_session.connection.unsaved, room_session.tab.save_status
        was_synced, count_before = room_session.synced, unsaved.count_outside_status_runs
        version = room_session.replica.version
        if self.session is not None:
            self.session.attach(room_session)
        if not was_synced or room_session.tab.status_read is not None:
            self._add_causes("its status")
        if save_status.needs_run(count_before):
            self._add_causes("what is saved")
        if room_session.replica.version != version:
            self._add_update_causes(room_session)

    def leave(self) -> None:
        """Close the page."""
        registry.forget(self.key)

    # -- reruns --------------------------------------------------------------------------------------------------

    def collect_causes(self) -> list[str]:
        """Merge remote edits. Return the causes of a rerun, an empty list if none is needed.

        The session's own edits cause no rerun: its tab has the same edits, and recognizes their origin. The first
        frame of a newly mounted tab is an exception: then every value that the script has not read is a cause.
        """
        if self._causes_page is not self._page:
            self._causes.clear()  # the test has run the script since
        self._forget_drafts()
        mounted, self._mounted_rooms = self._mounted_rooms, set(self.rooms)
        for room_session in self.rooms:
            peer = room_session.connection.peer
            if peer is None or self.session is None:
                continue
            if peer.is_closed:  # for example because the room was deleted
                self._reattach(room_session)
                continue
            with self.session.lock:
                version = room_session.replica.version
                room_session.connection.drain()
                if room_session.replica.version != version or room_session not in mounted:
                    self._add_update_causes(room_session)
        return list(self._causes)

    def _add_update_causes(self, room_session: RoomSession) -> None:
        events = room_session.writer.unread_event_names()
        with room_session.binding.locked() as keys:
            changed = sorted(remote_writes.changed_keys(keys))
        self._add_causes(*map(self.label, changed), *(f"the event {name!r}" for name in events))

    def _add_causes(self, *causes: str) -> None:
        self._causes.update(dict.fromkeys(causes))
        self._causes_page = self._page

    def rerun(self) -> None:
        """Run the script as a tab's request does. Drafts on the page stay unchanged."""
        self._causes.clear()
        if self.session is None:
            return
        self.session.note_remote_cause()
        base_texts = _compat.rerun_app_test(self.app)
        self._drafts_page = self._page
        self._report_drafts(base_texts)

    # -- drafts --------------------------------------------------------------------------------------------------

    def _report_drafts(self, base_texts: Mapping[str, str]) -> None:
        """Report the base text of each draft to the session, as a tab does (see `binding.text_drafts`)."""
        for element_id in [open_id for open_id in self._drafts if open_id not in base_texts]:
            del self._drafts[element_id]
        for element_id, text in base_texts.items():
            if element_id not in self._drafts:
                self._draft_count += 1
                self._drafts[element_id] = (digest_of(text), self._draft_count)
        for room_session in self.rooms:
            keys = {widget.element_id: key for key, widget in room_session.binding.widgets.items()}
            open_drafts = {
                class_of(keys[element_id]): draft
                for element_id, draft in self._drafts.items()
                if element_id in keys
            }
            with room_session.binding.locked() as states:
                states.drafts.note_open(open_drafts)

    def _forget_drafts(self) -> None:
        """Discard the drafts after a run of the test: they were committed, or belonged to a form that is gone."""
        if self._drafts and self._drafts_page is not self._page:
            self._report_drafts({})

    # -- inspection ----------------------------------------------------------------------------------------------

    @property
    def failure(self) -> str | None:
        """The first exception on the page, with its traceback. None if there is no exception."""
        exceptions = list(self.app.exception)
        return None if not exceptions else "\n".join([exceptions[0].message, *exceptions[0].stack_trace])

    def visible_values(self, room_session: RoomSession) -> dict[str, VisibleValue]:
        """Return the visible values of a room by key, without values that the session wrote and has not read since."""
        with room_session.binding.locked() as keys:
            values = visible_values(keys, _compat.state_of_app_test(self.app))
            unread = set(remote_writes.changed_keys(keys))
        return {key: value for key, value in values.items() if key not in unread}

    def label(self, key: str) -> str:
        """Return a readable name of a key: the key, or kind and label of a widget without a key."""
        widgets = [
            room_session.binding.widgets[key]
            for room_session in self.rooms
            if key in room_session.binding.widgets
        ]
        labels = {getattr(node, "id", None): getattr(node, "label", "") for node in self.app}
        if not key.startswith("crdt:") or not widgets:
            return repr(key)
        return f"the {widgets[0].kind} {labels.get(widgets[0].element_id, '')!r}"
