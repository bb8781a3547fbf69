"""Widgets of a session: their identity, the values that they can show, and the client state of the browser.

Streamlit's serializer and deserializer define the values of a widget. A value that survives the round trip unchanged is
one that the widget can show; since Streamlit 1.65 this includes the bounds. `_fits` checks the values that survive the
round trip and are rejected or coerced by the widget afterwards.

The *shared value* of a widget is the form that is stored in the room. It is the value itself, or the formatted labels
of options that cannot be stored. The receiving session finds its own option object by the label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from streamlit_crdt.codec import values
from streamlit_crdt.errors import ValueNotShareableError

SETTABLE: Final = frozenset(
    {
        "checkbox", "toggle", "radio", "selectbox", "multiselect", "pills", "segmented_control", "select_slider",
        "feedback", "slider", "number_input", "text_input", "text_area", "date_input", "time_input",
        "date_time_input", "color_picker", "pagination", "dataframe",
    }
)  # fmt: skip
"""Element types that take their value from session state, so that a remote value can be written."""

WITH_OPTIONS: Final = frozenset(
    {"radio", "selectbox", "multiselect", "pills", "segmented_control", "select_slider"}
)
MULTIPLE: Final = frozenset({"multiselect", "pills", "segmented_control"})
TEXT_INPUTS: Final = frozenset({"text_input", "text_area"})
UNKEYED_PREFIX: Final = "crdt:"
SUBMIT_BUTTON: Final = "form_submit_button"

VALIDATION_ARGUMENTS: Final = ("accept_new_options", "max_selections", "options")
"""Arguments that limit the values of a widget. The others are not stored: they can be large, such as a chart's data."""


def validation_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `VALIDATION_ARGUMENTS` of a call that are single values.

    `options` is one for `st.feedback` only. Other widgets have their options in their serializer.
    """
    return {
        name: value
        for name in VALIDATION_ARGUMENTS
        if isinstance(value := arguments.get(name), bool | int | str)
    }


class Refused:
    """The type of `REFUSED`: the widget cannot show the value."""


REFUSED: Final = Refused()


def unkeyed_key(element_type: str, native_hash: str) -> str:
    """Return the deterministic key of a widget that has no `key`: its type and the hash of its native identity."""
    return f"{UNKEYED_PREFIX}{element_type}:{native_hash}"


@dataclass(frozen=True, slots=True)
class FormInfo:
    """Id of a form, and its `clear_on_submit`."""

    id: str
    clears: bool = False


@dataclass(frozen=True, slots=True)
class Widget:
    """One widget, as this session registered it last.

    Attributes:
        element_id: Streamlit's id of the widget, as in the client state.
        kind: Streamlit's element type, such as "slider".
        is_settable: False for triggers, uploads and layout elements.
        arguments: `VALIDATION_ARGUMENTS` of the call.
        form: the form that contains the widget.
    """

    key: str
    element_id: str
    kind: str
    is_settable: bool
    serialize: Callable[[Any], Any]
    deserialize: Callable[[Any], Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    form: FormInfo | None = None

    def to_shared_value(self, value: Any) -> Any:
        """Return the shared value: the value itself, or the labels of options that cannot be stored.

        Raises:
            ValueNotShareableError: the value can neither be stored nor is it an option with a label.
        """
        if self.kind == "dataframe":
            return _to_plain_tree(value)
        if self.kind not in WITH_OPTIONS:
            return value
        try:
            if not _contains_enum(value):
                values.encode(value, key=self.key)
                return value
        except ValueNotShareableError:
            pass
        try:
            return self._labels(value)
        except Exception as error:
            # The app's format_func may raise anything for a value that is not an option any more.
            raise ValueNotShareableError(
                type(value).__name__, "it is not among the options", key=self.key
            ) from error

    def shared_or_refused(self, value: Any) -> Any:
        """Return the shared value, or `REFUSED` where `to_shared_value` raises."""
        try:
            return self.to_shared_value(value)
        except ValueNotShareableError:
            return REFUSED

    def to_widget_value(self, shared: Any) -> Any:
        """Return the value that this widget shows for a shared value, or `REFUSED` (rule P2)."""
        if self.kind == "dataframe":
            return shared if isinstance(shared, Mapping) else REFUSED
        if self._can_show(shared):
            return shared
        return self._from_labels(shared) if self.kind in WITH_OPTIONS else REFUSED

    def default_value(self) -> Any:
        """Return the value of the untouched widget; None if its deserializer raises."""
        try:
            return self.deserialize(None)
        except Exception:
            return None  # the app's format_func may raise anything

    def is_default(self, value: Any) -> bool:
        """Return whether `value` is the value of the untouched widget."""
        try:
            return values.equal(self.to_shared_value(value), self.to_shared_value(self.deserialize(None)))
        except Exception:
            return False  # the app's format_func may raise anything

    def in_option_order(self, shared: Any) -> Any:
        """Return a multiple selection in the order of the options, the only order that all sessions have in common."""
        options = self._options()
        if self.kind not in MULTIPLE or not isinstance(shared, list | set) or options is None:
            return shared
        positions = {label: position for position, label in enumerate(options)}
        return sorted(shared, key=lambda item: positions.get(self._label(item), len(positions)))

    def _label(self, item: Any) -> str:
        try:
            return str(self._labels([item])[0])
        except Exception:
            # The item is a label, or not an option any more: the app's format_func may raise anything.
            return str(item)

    def _can_show(self, value: Any) -> bool:
        if not _fits(self, value):
            return False
        try:
            wire = self.serialize(value)
            if not self._has_options(wire):
                return False
            return values.equal(self.deserialize(wire), value)
        except Exception:
            # A serializer may raise anything for a value of another type: the widget cannot show it.
            return False

    def _has_options(self, wire: Any) -> bool:
        options = self._options()
        if options is None or self.arguments.get("accept_new_options"):
            return True
        labels = [wire] if isinstance(wire, str) else list(wire or [])
        return all(label in options for label in labels)

    def _options(self) -> Sequence[str] | Mapping[str, int] | None:
        serde = getattr(self.serialize, "__self__", None)
        for name in ("formatted_options", "formatted_option_to_index", "formatted_option_to_option_index"):
            options = getattr(serde, name, None)
            if options is not None:
                return options  # type: ignore[no-any-return]
        return None

    def _labels(self, value: Any) -> Any:
        wire = self.serialize(value)
        if isinstance(wire, str) or wire is None:
            return wire
        labels = [str(label) for label in wire]
        if isinstance(value, tuple):
            return tuple(labels)
        return labels if isinstance(value, list) else labels[0]

    def _from_labels(self, shared: Any) -> Any:
        labels = [shared] if isinstance(shared, str) else shared
        options = self._options()
        if options is None or not isinstance(labels, (list, tuple)):
            return REFUSED
        if not labels or not all(isinstance(label, str) and label in options for label in labels):
            return REFUSED
        wire = shared if isinstance(self.serialize(None), str | None) else list(labels)
        value = self.deserialize(wire)
        return value if _fits(self, value) and self._labels(value) == shared else REFUSED


def _fits(widget: Widget, value: Any) -> bool:
    """Return False for a value that survives the round trip and that the widget rejects, coerces or crashes on."""
    if widget.kind in ("checkbox", "toggle"):
        return isinstance(value, bool)
    if widget.kind == "multiselect":
        limit = widget.arguments.get("max_selections")
        return isinstance(value, list) and (limit is None or len(value) <= limit)
    if widget.kind in TEXT_INPUTS:
        return value is None or isinstance(value, str)
    if widget.kind == "feedback":  # Streamlit 1.65 does not check its bounds
        count = 2 if widget.arguments.get("options") == "thumbs" else 5
        return value is None or (isinstance(value, int) and 0 <= value < count)
    if widget.kind == "slider" and isinstance(value, tuple):
        return len(value) == 2 and bool(value[0] <= value[1])
    if widget.kind == "select_slider" and isinstance(value, tuple):
        return _is_ordered_range(widget, value)
    return True


def _is_ordered_range(widget: Widget, value: tuple[Any, ...]) -> bool:
    options = widget._options()
    labels = list(widget.serialize(value))
    if options is None or len(labels) != 2:
        return True
    order = list(options)
    return all(label in order for label in labels) and order.index(labels[0]) <= order.index(labels[1])


def _contains_enum(value: Any) -> bool:
    items = value if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(item, Enum) for item in items)


def _to_plain_tree(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _to_plain_tree(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_to_plain_tree(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class ClientState:
    """Widget values that the browser sent with one rerun request, and those of the request before it.

    Attributes:
        states: serialized value by element id, for each widget that the browser shows.
        triggers: element ids of the triggers that are set.
        previous: `states` of the request before.
        is_timers: only the timers of fragments caused the request; no user acted.
        changed: element ids of the widgets that may have caused the request; None if unknown (see `RerunCause`).
            It may contain a widget whose value came with a timer's request before.
    """

    states: Mapping[str, bytes]
    triggers: frozenset[str] = frozenset()
    previous: Mapping[str, bytes] = field(default_factory=dict)
    is_timers: bool = False
    changed: frozenset[str] | None = None

    def contains(self, widget: Widget | None) -> bool:
        """Return whether the browser shows `widget`."""
        return widget is not None and widget.element_id in self.states

    def is_changed(self, element_id: str) -> bool:
        """Return whether the widget has another value than in the request before."""
        return element_id in self.states and self.states[element_id] != self.previous.get(element_id)

    @property
    def has_changes(self) -> bool:
        """True if a user acted: a trigger is set, or a value differs from the request before."""
        return bool(self.triggers) or self.states != self.previous

    def is_caused_only_by(self, widget: Widget) -> bool:
        """Return whether only `widget` can have caused this request: no trigger is set, and no other value differs.

        A request without any change is caused by moving `widget` back to the value that the browser reported last. A
        timer's request is never caused by a widget: the browser sends the widget's value again in a request of its own,
        and may have replaced it with a remote value meanwhile.
        """
        return not (self.triggers or self.is_timers or self._changed_ids() - {widget.element_id})

    def _changed_ids(self) -> frozenset[str]:
        if self.changed is not None:
            return self.changed
        ids = {*self.states, *self.previous}
        return frozenset(i for i in ids if self.states.get(i) != self.previous.get(i))
