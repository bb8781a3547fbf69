"""Sessions for tests of `StateBinding`, without Streamlit: script, browser and session state as plain objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamlit_crdt.access.participant import Participant, User
from streamlit_crdt.access.room_context import KeyFilter, RoomContext
from streamlit_crdt.binding import StateBinding, form_drafts, in_flight, remote_writes, widget_registration
from streamlit_crdt.binding.widgets import ClientState, FormInfo, Widget
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import MergePolicy, MergeRule

USER = User("ada", "Ada")
KEPT, CLEARED = FormInfo("kept"), FormInfo("cleared", clears=True)


def room_context(
    *, private: tuple[str, ...] = (), merge: Mapping[str, MergeRule] | None = None
) -> RoomContext:
    """Return the context of an editor."""
    return RoomContext(
        "room", Participant("editor", USER), KeyFilter(private=private), MergePolicy(merge or {})
    )


def make_viewer(binding: StateBinding) -> None:
    binding.context = replace(binding.context, participant=Participant("viewer", USER))


def identity(value: Any) -> Any:
    return value


def number(key: str, kind: str = "number_input", low: int = 0, high: int = 100) -> Widget:
    """Return a widget whose deserializer returns the default for a value out of bounds, as Streamlit's does."""

    def deserialize(value: Any) -> Any:
        return value if isinstance(value, int) and low <= value <= high else low

    return Widget(key, f"$$ID-hash-{key}", kind, True, identity, deserialize)


def form_field(key: str, form: FormInfo | None, default: Any, kind: str = "number_input") -> Widget:
    def deserialize(value: Any) -> Any:
        return default if value is None else value

    return Widget(key, f"$$ID-hash-{key}", kind, True, identity, deserialize, form=form)


class BoundSession:
    """One session with a few widgets: the values in the browser, session state, and the binding between them.

    Attributes:
        room: the document of the room, with which each run exchanges updates.
        browser: the values that the browser shows, by key.
    """

    def __init__(
        self,
        room: Replica,
        *widgets: Widget,
        private: tuple[str, ...] = (),
        merge: Mapping[str, MergeRule] | None = None,
    ) -> None:
        self.replica = Replica()
        self.replica.apply(room.diff())
        self.room = room
        self.binding = StateBinding(self.replica, room_context(private=private, merge=merge))
        self.widgets = widgets
        self.state: dict[str, Any] = {}
        self.browser: dict[str, Any] = {}
        self.last: dict[str, bytes] = {}
        self.errors: list[Exception] = []

    def message(self, *clicks: str) -> ClientState:
        """Send the client state: its values replace those in session state."""
        states = {f"$$ID-hash-{key}": repr(value).encode() for key, value in self.browser.items()}
        message = ClientState(states, frozenset(clicks), self.last)
        self.last = states
        self.state.update(self.browser)
        return message

    def run(
        self,
        message: ClientState | None = None,
        body: Any = None,
        *,
        delivered: bool = True,
        remote: bool = False,
    ) -> None:
        """Run the script.

        Args:
            body: called with session state after the widgets registered.
            delivered: the browser shows the values of this run.
        """
        has_trigger = message is not None and bool(message.triggers)
        self.errors = list(
            self.binding.push(
                self.state,
                message,
                is_synced=True,
                is_by_person=not remote,
                is_at_top=True,
                has_trigger=has_trigger,
            )
        )
        self.binding.begin_run()
        self.replica.apply(self.room.diff())
        before = dict(self.state)
        for write in self.binding.plan(before):
            if write.is_deletion:
                del self.state[write.key]
            else:
                self.state[write.key] = write.value
            self.binding.mark_written(write, before)
        for widget in self.widgets:
            self.register(widget)
        if body is not None:
            body(self.state)
        self.binding.check_registered(self.state)
        self.errors += self.binding.push(
            self.state, message, is_synced=True, is_by_person=not remote, has_trigger=has_trigger
        )
        self.binding.end_run(is_complete=True, is_by_person=not remote)
        self.room.apply(self.replica.diff())
        if delivered:
            self.browser = {widget.key: self.state[widget.key] for widget in self.widgets}

    def register(self, widget: Widget) -> None:
        is_assigned = widget.key in self.state and widget.key not in self.browser
        if widget.key in self.state:
            with self.binding.locked() as keys:
                value = widget_registration.value_to_show(keys, widget, self.state[widget.key])
            if isinstance(value, int | str):
                self.state[widget.key] = value
            else:
                del self.state[widget.key]
                is_assigned = False
        if widget.key not in self.state:
            self.state[widget.key] = widget.deserialize(None)
        self.binding.register(widget, self.state[widget.key], is_assigned=is_assigned)

    def touch(self, **values: Any) -> None:
        """Change widgets in the browser, and run the script."""
        self.browser.update(values)
        self.run(self.message())

    def confirm(self, message: ClientState) -> bool:
        """Confirm the newest delivery, as the tab does; return whether a run is needed."""
        with self.binding.locked() as keys:
            return in_flight.confirm(keys, keys.delivery, message, self.state)

    @property
    def is_in_flight(self) -> bool:
        with self.binding.locked() as keys:
            return keys.pending_delivery is not None

    def echoes(self) -> dict[str, Any]:
        with self.binding.locked() as keys:
            return remote_writes.replace_echoes(keys, self.state)

    def is_written_by_binding(self, key: str) -> bool:
        with self.binding.locked() as keys:
            return widget_registration.is_written_by_binding(keys, key)

    def needs_delivery(self, key: str) -> bool:
        with self.binding.locked() as keys:
            return keys[key].needs_delivery

    def leave_page(self) -> None:
        with self.binding.locked() as keys:
            widget_registration.leave_page(keys)


class FormPage:
    """One session with form fields, and its browser.

    Attributes:
        sent: the value of each field in the client state.
        drafts: the values that a submit will send.
        shows: the value that each field displays.
    """

    def __init__(self, room: Replica, *widgets: Widget, merge: Mapping[str, MergeRule] | None = None) -> None:
        self.room = room
        self.replica = Replica()
        self.replica.apply(room.diff())
        self.binding = StateBinding(self.replica, room_context(merge=merge))
        self.widgets = {widget.key: widget for widget in widgets}
        self.state: dict[str, Any] = {}
        self.sent: dict[str, Any] = {}
        self.drafts: dict[str, Any] = {}
        self.shows: dict[str, Any] = {}
        self.last: dict[str, bytes] = {}
        self.run()

    @property
    def would_submit(self) -> dict[str, Any]:
        return {key: self.drafts.get(key, self.sent[key]) for key in self.widgets}

    def draft(self, **values: Any) -> None:
        """Fill in fields. The tab reports the drafts."""
        self.drafts.update(values)
        self.shows.update(values)
        self.report_drafts()

    def report_drafts(self) -> None:
        drafts = (key for key in self.drafts if self.widgets[key].form == KEPT)
        self.report_unsubmitted(*(self.widgets[key].element_id for key in drafts))

    def report_unsubmitted(self, *element_ids: str) -> None:
        with self.binding.locked() as keys:
            keys.unsubmitted_elements = set(element_ids)

    def submit(self, form: FormInfo) -> None:
        """Submit a form as Streamlit's frontend does. The defaults of a cleared form are drafts afterwards."""
        keys = [key for key, widget in self.widgets.items() if widget.form == form]
        for key in keys:
            if key in self.drafts:
                self.sent[key] = self.drafts.pop(key)
        self.act(form.id)
        if form.clears:
            self.draft(**{key: self.widgets[key].deserialize(None) for key in keys})
        self.report_drafts()

    def act(self, *submitted: str) -> None:
        """Send the client state, with the submitted forms, and run the script."""
        elements = {self.widgets[key].element_id: key for key in self.sent}
        states = {element: repr(self.sent[key]).encode() for element, key in elements.items()}
        message = ClientState(states, frozenset(submitted), self.last)
        self.last = states
        outdated = self.receive(states, *submitted)
        self.state.update(
            {key: self.sent[key] for element, key in elements.items() if element not in outdated}
        )
        self.run(message)

    def receive(self, states: Mapping[str, bytes], *submitted: str) -> frozenset[str]:
        with self.binding.locked() as keys:
            return form_drafts.receive(keys, states, frozenset(submitted))

    def run(self, message: ClientState | None = None, **assigned: Any) -> None:
        self.state.update(assigned)
        self.binding.push(self.state, message, is_synced=True, is_at_top=True, assigned=set(assigned))
        self.binding.begin_run()
        self.replica.apply(self.room.diff())
        before, new = dict(self.state), set(assigned)
        for write in self.binding.plan(before):
            self.state[write.key] = write.value
            self.binding.mark_written(write, before)
            new.add(write.key)
        for key, widget in self.widgets.items():
            self.register(key, widget, is_new=key in new)
        self.binding.check_registered(self.state)
        self.binding.push(self.state, message, is_synced=True)
        self.binding.end_run(is_complete=True)
        self.room.apply(self.replica.diff())

    def register(self, key: str, widget: Widget, *, is_new: bool) -> None:
        value = self.state.setdefault(key, widget.deserialize(None))
        with self.binding.locked() as keys:
            is_sent = is_new and not form_drafts.withholds(keys, widget, value, is_assigned=True)
        self.binding.register(widget, value, is_assigned=is_new)
        self.sent.setdefault(key, widget.deserialize(None))
        self.shows.setdefault(key, widget.deserialize(None))
        if is_sent:
            # It replaces a draft in the field, which the submit would still send.
            self.sent[key] = self.shows[key] = value

    def leave_page(self) -> None:
        with self.binding.locked() as keys:
            widget_registration.leave_page(keys)
