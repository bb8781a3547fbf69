"""Which keys are widgets, of which kind, and which shared values each of them can show.

Streamlit's widgets turn a browser value into a Python value and back with a serializer and a deserializer. Those two
are the best judge there is: a value that comes back from the round trip as it went in is one that the widget can show
(since 1.65 they check bounds as well). What they let through and the widget then refuses or bends is checked here.

An option object need not be shareable: what travels then is its formatted label, and the receiving session looks the
label up among its own options.

What a browser sent with a run: the value of each widget that it shows, and what was clicked.

The shared form of what a widget shows, where a widget that cannot say is no error.
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
"""Element types whose value code may set, so that a remote value can move them."""

WITH_OPTIONS: Final = frozenset(
    {"radio", "selectbox", "multiselect", "pills", "segmented_control", "select_slider"}
)
MULTIPLE: Final = frozenset({"multiselect", "pills", "segmented_control"})
UNKEYED_PREFIX: Final = "crdt:"
SUBMIT_BUTTON: Final = "form_submit_button"

JUDGED_BY: Final = ("accept_new_options", "max_selections")
"""Arguments of a widget by which its values are judged; others may be large, such as a chart's data."""


class Refused:
    """The type of `REFUSED`: this widget cannot show that value."""


REFUSED: Final = Refused()


def unkeyed_key(element_type: str, native_hash: str) -> str:
    """Return the deterministic key of a widget without one: its type and the hash of its native identity."""
    return f"{UNKEYED_PREFIX}{element_type}:{native_hash}"


@dataclass(frozen=True, slots=True)
class FormInfo:
    """A form of the page: its id, and whether its fields are cleared when it is submitted."""

    id: str
    clears: bool = False


@dataclass(frozen=True, slots=True)
class Widget:
    """One widget as this session last drew it.

    Attributes:
        element_id: Streamlit's id, by which the browser's messages name it.
        kind: Streamlit's element type, such as "slider".
        settable: whether code may set its value; triggers, uploads and layout are not.
        arguments: what its identity was computed from; not all arguments of the call.
        form: the form that it is a field of.
    """

    key: str
    element_id: str
    kind: str
    settable: bool
    serialize: Callable[[Any], Any]
    deserialize: Callable[[Any], Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    form: FormInfo | None = None

    def shared(self, value: Any) -> Any:
        """Return what travels for `value`: the value itself, or the labels of options that cannot be shared.

        Raises:
            ValueNotShareableError: it is neither shareable nor an option with a label.
        """
        if self.kind == "dataframe":
            return _plain(value)
        if self.kind not in WITH_OPTIONS:
            return value
        try:
            if not _holds_enum(value):
                values.encode(value, key=self.key)
                return value
        except ValueNotShareableError:
            pass
        try:
            return self._labels(value)
        except Exception as error:
            # The app's own format_func, given a value that is no option any more, may raise anything.
            raise ValueNotShareableError(
                type(value).__name__, "it is not among the options", key=self.key
            ) from error

    def local(self, shared: Any) -> Any:
        """Return the value that this widget shows for `shared`, or `REFUSED` (rule P2)."""
        if self.kind == "dataframe":
            return shared if isinstance(shared, Mapping) else REFUSED
        if self._shows(shared):
            return shared
        return self._from_labels(shared) if self.kind in WITH_OPTIONS else REFUSED

    def in_option_order(self, shared: Any) -> Any:
        """Return what several people selected in the order of the options, which is the only one that they share."""
        options = self._options()
        if self.kind not in MULTIPLE or not isinstance(shared, list | set) or options is None:
            return shared
        places = {label: place for place, label in enumerate(options)}
        return sorted(shared, key=lambda item: places.get(self._label(item), len(places)))

    def _label(self, item: Any) -> str:
        try:
            return str(self._labels([item])[0])
        except Exception:
            return str(
                item
            )  # a label itself, or no option any more, for which the app's own format_func may raise

    def is_default(self, value: Any) -> bool:
        """Say whether the widget would show `value` untouched."""
        try:
            return values.equal(self.shared(value), self.shared(self.deserialize(None)))
        except Exception:
            return False  # as in `_shows`: whatever a foreign serializer raises

    def _shows(self, value: Any) -> bool:
        if not _fits(self, value):
            return False
        try:
            wire = self.serialize(value)
            if not self._offers(wire):
                return False
            return values.equal(self.deserialize(wire), value)
        except Exception:
            # A serializer given a value of a foreign type may raise anything: the widget cannot show it.
            return False

    def _offers(self, wire: Any) -> bool:
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
    """Catch what the round trip lets through and the widget then refuses, bends or crashes on."""
    if widget.kind in ("checkbox", "toggle"):
        return isinstance(value, bool)
    if widget.kind == "multiselect":
        limit = widget.arguments.get("max_selections")
        return isinstance(value, list) and (limit is None or len(value) <= limit)
    if widget.kind in ("text_input", "text_area"):
        return value is None or isinstance(value, str)
    if widget.kind == "feedback":  # Streamlit 1.65 does not look at its bounds
        count = 2 if widget.arguments.get("options") == "thumbs" else 5
        return value is None or (isinstance(value, int) and 0 <= value < count)
    if widget.kind == "slider" and isinstance(value, tuple):
        return len(value) == 2 and bool(value[0] <= value[1])
    if widget.kind == "select_slider" and isinstance(value, tuple):
        return _in_order(widget, value)
    return True


def _in_order(widget: Widget, value: tuple[Any, ...]) -> bool:
    options = widget._options()
    labels = list(widget.serialize(value))
    if options is None or len(labels) != 2:
        return True
    order = list(options)
    return all(label in order for label in labels) and order.index(labels[0]) <= order.index(labels[1])


def _holds_enum(value: Any) -> bool:
    items = value if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(item, Enum) for item in items)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class ClientState:
    """One message, compared with the one before it.

    Attributes:
        states: serialized value by widget id, all widgets that the browser shows.
        triggers: ids of the triggers that are set.
        previous: the states of the message before.
        is_timers: whether nobody has sent it: the timers of fragments did.
        changed: ids of the widgets for which the page may have sent it, where that is known (see `asking`): it can be
            for one that a timer's message has told of already.
    """

    states: Mapping[str, bytes]
    triggers: frozenset[str] = frozenset()
    previous: Mapping[str, bytes] = field(default_factory=dict)
    is_timers: bool = False
    changed: frozenset[str] | None = None

    def holds(self, widget: Widget | None) -> bool:
        """Say whether the browser shows `widget`."""
        return widget is not None and widget.element_id in self.states

    def is_new(self, element_id: str) -> bool:
        """Say whether the browser sent another value of this widget than in the message before."""
        return element_id in self.states and self.states[element_id] != self.previous.get(element_id)

    @property
    def has_news(self) -> bool:
        """Whether somebody has acted: a trigger is set, or a widget holds another value than in the message before."""
        return bool(self.triggers) or self.states != self.previous

    def only_explained_by(self, widget: Widget) -> bool:
        """Say whether nothing but `widget` can have caused this message: no trigger, no other change.

        A message without any change is `widget` moved back to where the browser last reported it. What a timer's
        message holds is no move: the page sends that for itself, and may have put a value over it meanwhile.
        """
        return not (self.triggers or self.is_timers or self._changed() - {widget.element_id})

    def _changed(self) -> frozenset[str]:
        if self.changed is not None:
            return self.changed
        ids = {*self.states, *self.previous}
        return frozenset(i for i in ids if self.states.get(i) != self.previous.get(i))


def form_of(widget: Widget, value: Any) -> Any:
    """Return what travels for `value`, `REFUSED` if nothing does."""
    try:
        return widget.shared(value)
    except ValueNotShareableError:
        return REFUSED


def default_of(widget: Widget) -> Any:
    """Return what `widget` shows untouched; None where its own code cannot say."""
    try:
        return widget.deserialize(None)
    except Exception:
        return None  # as in `Widget.local`: an app's format function may raise anything
