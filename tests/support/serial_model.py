"""Random scripts, sessions that run them together, and the serial orders that their result must equal (R9).

A scenario is plain data: the parts of a script, and events. A part has acts, such as a click or a moved widget, and a
body that each run executes. The body works on any dict, so that the same code is the app and its own specification:
`serial_results` executes the acts one after the other on one dict, in each order that people could have acted in.

Between two `sync` events each session acts at most once. Concurrent acts of one session on several keys have no serial
order in general, because each key merges by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from random import Random
from typing import Any, Final, NamedTuple

from streamlit_crdt.binding import StateBinding, in_flight
from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.document.replica import LOCAL, Replica
from streamlit_crdt.merge import MergeRule
from tests.support.binding_session import number, room_context

State = dict[str, Any]

MAX_SETTLE_ROUNDS: Final = 12


class Act(NamedTuple):
    """One act of a person: a widget with its new value, or a click or a callback with its argument."""

    part: str
    kind: str
    argument: Any


class Event(NamedTuple):
    """One step of a scenario. `name` is "act", "end" (of a run), "wake" (a remote run), "timer" or "sync"."""

    name: str
    session: int = 0
    act: Act | None = None

    def __str__(self) -> str:
        if self.name == "sync":
            return "everybody receives everything"
        texts = {"end": "run ends", "wake": "receives and reruns", "timer": "a timer reruns the script"}
        act = "" if self.act is None else f"{self.act.kind} {self.act.argument!r} ({self.act.part})"
        return f"session {self.session}: {texts.get(self.name, act)}"


Body = Callable[[State, Act | None], None]


@dataclass(frozen=True)
class Part:
    """A part of a script.

    Attributes:
        body: what each run executes, with the click of the run.
        acts: kinds of acts with their possible arguments.
        source: the body as text, for the report of a failure.
        callback: what a callback does, for the kinds that begin with "callback".
        widgets: keys of number widgets.
    """

    body: Body
    acts: Mapping[str, tuple[Any, ...]]
    source: str
    callback: Body = lambda _state, _act: None
    widgets: tuple[str, ...] = ()


def _computes(key: str, compute: Callable[[int], Any]) -> Body:
    def body(state: State, act: Act | None) -> None:
        state[key] = compute(state["w"])

    return body


def _chat(state: State, act: Act | None) -> None:
    chat = state.setdefault("chat", [])
    if act is not None and act.kind == "say":
        chat.append(act.argument)


def _add(state: State, act: Act | None) -> None:
    state.setdefault("cards", [])
    if act is not None and act.kind == "callback add":
        state["cards"].append(act.argument)


def _count(state: State, act: Act | None) -> None:
    state.setdefault("votes", 10)
    if act is not None and act.kind == "vote":
        state["votes"] += act.argument


def _tag(state: State, act: Act | None) -> None:
    tags = state.setdefault("tags", {"a", "b"})
    if act is not None and act.kind == "tag":
        tags.add(act.argument)
    if act is not None and act.kind == "untag":
        tags.discard(act.argument)


def _put(state: State, act: Act | None) -> None:
    entries = state.setdefault("entries", {"x": {"y": 0}})
    if act is not None and act.kind == "put":
        entries.setdefault(act.argument[0], {})[act.argument[1]] = act.argument[2]


def _start(state: State, act: Act | None) -> None:
    state.setdefault("deck", [])
    if act is not None and act.kind == "start" and not state["deck"]:
        state["deck"] = ["é", "é", {"n": 1}]


def _replace(state: State, act: Act | None) -> None:
    state.setdefault("hand", ["old"])
    if act is not None and act.kind == "deal":
        state["hand"] = ["new", "new"]


WORDS: Final = ("Äpfel", "👍", "last")


def _words(state: State, act: Act | None) -> None:
    state.setdefault("text", "\n".join(WORDS))
    if act is not None and act.kind == "replace":
        state["text"] = state["text"].replace(act.argument, f"({len(act.argument)}é)")


def _template(state: State, act: Act | None) -> None:
    state.setdefault("notes", "")
    if act is not None and act.kind == "template":
        state["notes"] = "Café 👍\n"


def _remember(state: State, act: Act | None) -> None:
    seen = state.setdefault("seen", {})
    if act is not None and act.kind == "remember":
        seen[act.argument] = state["w"]


def _records(state: State, act: Act | None) -> None:
    todos = state.setdefault("todos", [{"id": name, "done": False, "text": name} for name in "abc"])
    if act is None or act.part != "records":
        return
    if act.kind == "new":
        todos.append({"id": act.argument, "done": False, "text": "same"})
    for todo in [todo for todo in todos if todo["id"] == act.argument]:
        if act.kind == "tick":
            todo["done"] = True
        elif act.kind == "rename":
            todo["text"] = "renamed"
        elif act.kind == "delete":
            todos.remove(todo)


def _boxes(state: State, act: Act | None) -> None:
    todos = state.setdefault("boxes", [{"text": text, "done": 0} for text in ("milk", "bread")])
    for index, todo in enumerate(todos):
        todo["done"] = state[f"box{index}"]


MERGE: Final[Mapping[str, MergeRule]] = {"votes": "counter", "text": "text", "notes": "text", "title": "text"}

LEVELS: Final = (0, 1, 2, 5)

PARTS: Final[Mapping[str, Part]] = {
    "list": Part(_computes("numbers", lambda w: list(range(w))), {}, "state.numbers = list(range(w))"),
    "words": Part(
        _computes("words", lambda w: [f"é{w}", {"w": w}, "end"]), {}, "state.words = [f'é{w}', {'w': w}, 'end']"
    ),
    "dict": Part(
        _computes("tree", lambda w: {"double": 2 * w, "parts": {str(n): n for n in range(w)}}),
        {},
        "state.tree = {'double': 2 * w, 'parts': {str(n): n for n in range(w)}}",
    ),
    "string": Part(_computes("title", lambda w: f"Größe {w}"), {}, "state.title = f'Größe {w}'"),
    "number": Part(_computes("double", lambda w: 2 * w), {}, "state.double = 2 * w"),
    "chat": Part(_chat, {"say": ("hi", "hi", "yo")}, "if say: state.chat.append(text)"),
    "cards": Part(
        lambda state, act: _add(state, None), {"callback add": ("hi", "x")}, "on_change: state.cards.append(text)",
        _add,
    ),
    "votes": Part(_count, {"vote": (1, 1, -2)}, "if vote: state.votes += number"),
    "tags": Part(_tag, {"tag": ("a", "c"), "untag": ("a", "b")}, "if tag: state.tags.add(x)  # or discard"),
    "entries": Part(
        _put, {"put": (("x", "y", 1), ("x", "y", 2), ("z", "y", 3))}, "if put: state.entries[a][b] = c"
    ),
    "deck": Part(_start, {"start": (None,)}, "if start and not state.deck: state.deck = ['é', 'é', {'n': 1}]"),
    "hand": Part(_replace, {"deal": (None,)}, "if deal: state.hand = ['new', 'new']"),
    "text": Part(_words, {"replace": WORDS}, "if replace: state.text = state.text.replace(word, f'({len(word)}é)')"),
    "notes": Part(_template, {"template": (None,)}, "if template: state.notes = 'Café 👍\\n'"),
    "seen": Part(_remember, {"remember": ("p", "q", "r", "s")}, "if remember: state.seen[name] = w"),
    "records": Part(
        _records,
        {"tick": ("a", "b"), "rename": ("a", "b"), "delete": ("a", "c"), "new": ("n1", "n2", "n3")},
        "if tick: state.todos[id]['done'] = True  # or rename, delete, append",
    ),
    "boxes": Part(
        _boxes,
        {"box0": (1, 2), "box1": (1, 2)},
        "for todo in state.boxes: todo['done'] = number_input()",
        widgets=("box0", "box1"),
    ),
}  # fmt: skip

LEVEL: Final = Part(lambda _state, _act: None, {"w": LEVELS}, "w = st.slider('w')", widgets=("w",))
"""The widget from which other parts compute. Each script has it."""


def part_of(name: str) -> Part:
    return LEVEL if name == "w" else PARTS[name]


@dataclass(frozen=True)
class Scenario:
    """A script, a number of sessions, and what happens. `ids` are the replica ids, which decide between edits."""

    parts: tuple[str, ...]
    sessions: int
    events: tuple[Event, ...]
    ids: tuple[int, ...]

    def __str__(self) -> str:
        script = "\n".join(f"    {part_of(name).source}" for name in self.parts)
        return f"{self.sessions} sessions of\n{script}\n" + "\n".join(map(str, self.events))

    def run_body(self, state: State, act: Act | None) -> None:
        for name in self.parts:
            part_of(name).body(state, act)

    @property
    def widgets(self) -> list[str]:
        return [key for name in self.parts for key in part_of(name).widgets]


def random_scenario(random: Random) -> Scenario:
    parts = ("w", *random.sample(list(PARTS), random.randint(1, 3)))
    sessions = random.choices((2, 3, 4, 5), (60, 25, 10, 5))[0]
    events = list[Event]()
    for _ in range(random.randint(1, 2)):
        events += _random_round(random, parts, sessions)
        events.append(Event("sync"))
    return Scenario(parts, sessions, tuple(events), tuple(random.sample(range(1, 1000), sessions)))


def _random_round(random: Random, parts: tuple[str, ...], sessions: int) -> Iterator[Event]:
    """Yield the events of one round: acts of some sessions in any order, and runs between them."""
    actors = random.sample(range(sessions), random.randint(min(2, sessions), min(3, sessions)))
    first: Act | None = None
    for session in actors:
        if first is None or random.random() < 0.5:
            name = random.choice([name for name in parts if part_of(name).acts])
            kind = random.choice(list(part_of(name).acts))
            first = Act(name, kind, random.choice(part_of(name).acts[kind]))
        act = first
        if act.kind in ("remember", "new"):  # these have unique arguments
            act = act._replace(argument=f"{act.argument}{session}")
        yield Event("act", session, act)
        for _ in range(random.choices((0, 1, 2, 3), (50, 25, 15, 10))[0]):
            yield Event(random.choice(("end", "wake", "timer")), random.randrange(sessions))


# -- the specification -----------------------------------------------------------------------------------------------


def serial_results(scenario: Scenario) -> Iterator[State]:
    """Yield the result of each serial order of the acts. Acts before a `sync` come before those after it."""
    states = [dict.fromkeys(scenario.widgets, 0)]
    scenario.run_body(states[0], None)
    acts = list[Act]()
    for event in (*scenario.events, Event("sync")):
        if event.act is not None:
            acts.append(event.act)
        elif event.name == "sync" and acts:
            states = _distinct(
                _after(scenario, state, order) for state in states for order in set(permutations(acts))
            )
            acts = []
    yield from states


def _distinct(states: Iterator[State]) -> list[State]:
    found = list[State]()
    for state in states:
        if state not in found:
            found.append(state)
    return found


def _after(scenario: Scenario, state: State, acts: tuple[Act, ...]) -> State:
    state = copied(state)
    for act in acts:
        apply_act(scenario, state, act)
        scenario.run_body(state, trigger_of(scenario, act))
    return state


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return set(value) if isinstance(value, set) else value


def apply_act(scenario: Scenario, state: State, act: Act) -> None:
    """Do what happens before the script runs: a widget has its new value, and a callback has run."""
    if act.kind in scenario.widgets:
        state[act.kind] = act.argument
    elif act.kind.startswith("callback"):
        part_of(act.part).callback(state, act)


def trigger_of(scenario: Scenario, act: Act) -> Act | None:
    return None if act.kind in scenario.widgets or act.kind.startswith("callback") else act


# -- the sessions ----------------------------------------------------------------------------------------------------


@dataclass
class ModelSession:
    """One session: session state, binding and replica, and the updates that wait for it."""

    scenario: Scenario
    replica_id: int
    inbox: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.replica = Replica(replica_id=self.replica_id)
        self.binding = StateBinding(self.replica, room_context(merge=MERGE))
        self.state: State = {}
        self.widgets: list[Widget] = [number(key) for key in self.scenario.widgets]
        self.states: dict[str, bytes] = {}
        self.message: ClientState | None = None
        self.trigger: Act | None = None
        self.is_running = self.is_by_person = False

    def act(self, act: Act | None) -> None:
        """Begin the run of an act; None is the first run of the page."""
        changed = {}
        if act is not None and act.kind in self.scenario.widgets:
            changed = {act.kind: act.argument}
            self.state.update(changed)
        trigger = None if act is None else trigger_of(self.scenario, act)
        clicks = frozenset() if trigger is None else frozenset({"$$ID-button"})
        states = {widget.element_id: repr(self.state.get(widget.key)).encode() for widget in self.widgets}
        self.message = ClientState(states, clicks, self.states)
        self.states = states
        if act is not None and act.kind.startswith("callback"):
            part_of(act.part).callback(self.state, act)
        self.binding.note_callbacks(self.state)
        self.begin(trigger, is_by_person=True)

    def begin(self, trigger: Act | None, *, is_by_person: bool) -> None:
        self.trigger, self.is_running, self.is_by_person = trigger, True, is_by_person
        self._push(is_at_top=True)
        self.receive()
        self.binding.begin_run()
        before = dict(self.state)
        for write in self.binding.plan(before):
            if write.is_deletion:
                del self.state[write.key]
            else:
                self.state[write.key] = write.value
            self.binding.mark_written(write, before)
        for widget in self.widgets:
            value = self.state.setdefault(widget.key, 0)
            self.binding.register(widget, value, is_assigned=False)

    def end(self) -> None:
        """Execute the body of the script, and end the run."""
        self.scenario.run_body(self.state, self.trigger)
        self.binding.check_registered(self.state)
        self._push(is_at_top=False)
        self.binding.end_run(is_complete=True, is_by_person=self.is_by_person)
        self.is_running = False
        with self.binding.locked() as keys:
            in_flight.close_all(keys)
            has_merged = keys.has_merged
        if has_merged:
            self.message = None
            self.begin(None, is_by_person=self.is_by_person)
            self.end()

    def run_by_code(self, message: ClientState | None) -> None:
        self.message = message
        self.begin(None, is_by_person=False)
        self.end()

    def receive(self) -> None:
        for update in self.inbox:
            self.replica.apply(update)
        self.inbox.clear()

    def _push(self, *, is_at_top: bool) -> None:
        errors = self.binding.push(
            self.state,
            self.message,
            is_synced=True,
            is_by_person=self.is_by_person,
            is_at_top=is_at_top,
            has_trigger=self.trigger is not None,
        )
        assert not errors, errors


class Unsettled(AssertionError):
    """Raised when sessions rerun each other without end."""


def shown_after(scenario: Scenario) -> list[State]:
    """Run a scenario. Return what each session shows at its end."""
    sessions = [ModelSession(scenario, replica_id) for replica_id in scenario.ids]
    for session in sessions:
        _connect(session, [other for other in sessions if other is not session])
    for session in sessions:
        session.act(None)
        session.end()
    _settle(sessions)
    for event in (*scenario.events, Event("sync")):
        _happen(event, sessions)
    return [session.state for session in sessions]


def _connect(session: ModelSession, others: list[ModelSession]) -> None:
    def send(update: bytes, origin: str) -> None:
        if origin == LOCAL:
            for other in others:
                other.inbox.append(update)

    session.replica.subscribe(send)


def _happen(event: Event, sessions: list[ModelSession]) -> None:
    session = sessions[event.session]
    if event.name == "sync":
        _settle(sessions)
    elif event.name == "end":
        if session.is_running:
            session.end()
    elif event.act is not None:
        if session.is_running:
            session.end()
        session.act(event.act)
    elif not session.is_running:
        session.receive()
        if event.name == "timer":
            session.run_by_code(ClientState(session.states, previous=session.states, is_timers=True))
        elif session.binding.needs_run():
            session.run_by_code(None)


def _settle(sessions: list[ModelSession]) -> None:
    for session in sessions:
        if session.is_running:
            session.end()
    for _ in range(MAX_SETTLE_ROUNDS):
        has_run = False
        for session in sessions:
            session.receive()
            if session.binding.needs_run():
                session.run_by_code(None)
                has_run = True
        if not has_run and not any(session.inbox for session in sessions):
            return
    raise Unsettled


# -- failures --------------------------------------------------------------------------------------------------------


def fault_of(scenario: Scenario) -> str | None:
    """Return what is wrong with the result of a scenario; None if it equals a serial order."""
    try:
        shown = shown_after(scenario)
    except Unsettled:
        return "the sessions do not settle"
    if any(state != shown[0] for state in shown):
        return "the sessions show different values:\n" + "\n".join(map(str, shown))
    orders = list(serial_results(scenario))
    if shown[0] not in orders:
        return f"shown: {shown[0]}\nin serial orders:\n" + "\n".join(map(str, orders))
    return None


def shrunk(scenario: Scenario) -> Scenario:
    """Return a scenario that fails too and of which no event, part or session can be left out."""
    while True:
        smaller = next((each for each in _smaller(scenario) if fault_of(each) is not None), None)
        if smaller is None:
            return scenario
        scenario = smaller


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    events = scenario.events
    for index, event in enumerate(events):
        if event.name != "sync":
            yield replace(scenario, events=events[:index] + events[index + 1 :])
    for name in scenario.parts[1:]:
        parts = tuple(part for part in scenario.parts if part != name)
        kept = tuple(event for event in events if event.act is None or event.act.part != name)
        yield replace(scenario, parts=parts, events=kept)
    last = scenario.sessions - 1
    if last >= 2:
        kept = tuple(event for event in events if event.session != last)
        yield replace(scenario, sessions=last, ids=scenario.ids[:last], events=kept)
