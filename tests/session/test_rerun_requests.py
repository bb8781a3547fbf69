"""What a page has asked for, and for which widgets, as Streamlit joins its requests on their way to a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from streamlit.proto.ClientState_pb2 import ClientState as ClientStateProto
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.app_session import AppSession, AppSessionState
from streamlit.runtime.scriptrunner import RerunData
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequests
from streamlit.runtime.state.common import WidgetMetadata
from streamlit.runtime.state.session_state import SessionState

from streamlit_crdt import _compat
from streamlit_crdt._compat.run_context import begin_run
from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.session.rerun_requests import MAX_REQUESTS, RerunRequests
from streamlit_crdt.session.session import Session
from streamlit_crdt.session.streamlit_hooks import SessionHooks, registry
from tests.session.test_superseded_runs import WAIT_S, Runner

SLIDER = Widget("slider", "slider", "slider", True, lambda value: value, lambda value: value)


def states(**values: int) -> dict[str, bytes]:
    return {name: bytes([value]) for name, value in values.items()}


def noted(*sent: tuple[dict[str, bytes], bool]) -> RerunRequests:
    requests = RerunRequests()
    for held, is_timers in sent:
        requests.note(held, is_timers=is_timers)
    return requests


def test_P1_a_message_is_for_what_changed_since_the_page_last_sent_one() -> None:
    requests = noted((states(a=1, b=1), False), (states(a=1, b=2), False))
    assert requests.take(1) is not None
    cause = requests.take(2)
    assert cause is not None
    assert (cause.changed, cause.is_timers) == ({"b"}, False)


def test_P1_a_message_is_for_what_a_timers_message_has_told_of_before_it() -> None:
    requests = noted((states(a=1, b=1), False), (states(a=1, b=2), True), (states(a=1, b=2), False))
    for number in (1, 2):
        requests.take(number)
    cause = requests.take(3)
    assert cause is not None
    assert (cause.changed, cause.is_timers) == ({"b"}, False)
    requests.note(states(a=1, b=2), is_timers=False)
    later = requests.take(4)
    assert later is not None
    assert later.changed == frozenset()


def test_P1_a_run_for_several_requests_has_all_of_their_causes() -> None:
    requests = noted((states(a=1), False), (states(a=2), False), (states(a=2, b=1), True))
    requests.take(1)
    cause = requests.take(3)
    assert cause is not None
    assert (cause.changed, cause.is_timers) == ({"a", "b"}, False)


def test_what_the_first_message_is_for_is_not_known() -> None:
    cause = noted((states(a=1), False)).take(1)
    assert cause is not None
    assert cause.changed is None


def test_requests_that_no_run_takes_are_not_kept_for_ever() -> None:
    requests = noted(*[(states(a=1), True)] * (MAX_REQUESTS + 5))
    assert requests.take(5) is None
    assert requests.take(MAX_REQUESTS + 5) is not None


# -- through Streamlit ------------------------------------------------------------------------------------------


@dataclass
class Page:
    """As much of Streamlit's session as takes what the page asks for; `pending` is what the script runner is told."""

    id: str = "overtaken"
    pending: ScriptRequests = field(default_factory=ScriptRequests)
    _state: AppSessionState = AppSessionState.APP_IS_RUNNING
    _client_state: ClientStateProto = field(default_factory=ClientStateProto)
    _session_state: SessionState = field(default_factory=SessionState)
    _scriptrunner: None = None

    @property
    def _fragment_storage(self) -> Page:  # 1.65 asks this, 1.67 the session itself
        return self

    def contains(self, _fragment: str) -> bool:
        return True

    has_fragment = contains

    def _create_scriptrunner(self, data: RerunData) -> None:
        self.pending.request_rerun(data)

    def asks(self, fragment: str = "", *, timer: bool = False, **sent: int | bool) -> ClientStateProto:
        request = ClientStateProto(fragment_id=fragment, is_auto_rerun=timer, widget_states=message(**sent))
        AppSession.request_rerun(self, request)  # type: ignore[arg-type]
        return request

    def next_run(self) -> RerunData:
        """Return what the next run is of, and take it."""
        data = self.pending.on_scriptrunner_ready().rerun_data
        self.pending = ScriptRequests()
        return data


def message(**sent: int | bool) -> WidgetStates:
    held = WidgetStates()
    for name, value in sent.items():
        if value is True:
            held.widgets.add(id=name, trigger_value=True)
        else:
            held.widgets.add(id=name, int_value=value)
    return held


@pytest.fixture
def runner() -> Iterator[Runner]:
    _compat.install(SessionHooks(registry))
    runner = Runner(SessionState(), "only")
    registry.open(_compat.run_context_of(runner.context))
    yield runner
    registry._sessions.pop("overtaken")


@pytest.fixture
def session(runner: Runner) -> Session:
    return registry.open(_compat.run_context_of(runner.context)).session


@pytest.fixture
def page(session: Session) -> Page:
    return Page()


def begin(session: Session, runner: Runner, data: RerunData) -> ClientState:
    """Begin a run as Streamlit's script runner does, and return the message that it has."""
    runner.context.fragment_ids_this_run = list(data.fragment_id_queue) or None
    begin_run(runner.context)
    runner.start(runner.state.on_script_will_rerun, data.widget_states).join(WAIT_S)
    run = session.run_of(_compat.run_context_of(runner.context))
    assert run.client_state is not None
    return run.client_state


def test_P1_a_run_that_code_asked_for_is_no_edit_though_a_timers_message_comes_with_it(
    session: Session, runner: Runner, page: Page
) -> None:
    page.asks(slider=4)
    begin(session, runner, page.next_run())
    page.asks("panel", timer=True, slider=4)
    page.pending.request_rerun(RerunData())
    data = page.next_run()
    assert not data.fragment_id_queue, "Streamlit joins the two to a run of the whole script"
    assert not begin(session, runner, data).is_caused_only_by(SLIDER)


def test_P1_a_message_for_an_edit_that_a_timers_message_has_told_of_is_for_no_other_widget(
    session: Session, runner: Runner, page: Page
) -> None:
    for fragment, number in (("", 1), ("panel", 2)):
        page.asks(fragment, timer=bool(fragment), slider=4, number=number)
        begin(session, runner, page.next_run())
    page.asks(slider=4, number=2)
    assert not begin(session, runner, page.next_run()).is_caused_only_by(SLIDER)
    page.asks(slider=4, number=2)
    assert begin(session, runner, page.next_run()).is_caused_only_by(SLIDER)


def test_a_requests_number_is_in_no_state(session: Session, runner: Runner, page: Page) -> None:
    page.asks(slider=4)
    data = page.next_run()
    assert data.widget_states is not None
    assert len(data.widget_states.widgets) == 2
    assert list(begin(session, runner, data).states) == ["slider"]
    assert list(runner.state._state._new_widget_state) == ["slider"]


def test_a_request_that_no_page_has_sent_is_not_numbered(page: Page, session: Session) -> None:
    assert not page.asks().widget_states.widgets
    assert session.requests.take(MAX_REQUESTS) is None


def test_a_request_that_is_made_again_has_one_number(page: Page) -> None:
    asked = page.asks(slider=4)
    AppSession.request_rerun(page, asked)  # type: ignore[arg-type]
    assert len(asked.widget_states.widgets) == 2


def test_P6_a_click_that_the_page_has_yet_to_send_does_not_act_with_a_timers_message_too(page: Page) -> None:
    asked = page.asks("panel", timer=True, slider=4, button=True)
    assert "button" not in [state.id for state in asked.widget_states.widgets]
    assert asked.fragment_id == "panel"


def test_P6_a_click_that_comes_with_an_edit_in_another_fragment_is_seen_by_the_script(page: Page) -> None:
    for name, fragment in (("inside", "panel"), ("outside", None)):
        metadata = WidgetMetadata(name, bool, bool, "trigger_value", fragment_id=fragment)
        page._session_state._new_widget_state.set_widget_metadata(metadata)
    assert page.asks("panel", slider=4, inside=True).fragment_id == "panel"
    assert page.asks("panel", slider=4, outside=True).fragment_id == ""


def test_a_page_that_the_library_does_not_know_is_left_alone() -> None:
    _compat.install(SessionHooks(registry))
    asked = Page("a stranger").asks("panel", timer=True, slider=4, button=True)
    assert [state.id for state in asked.widget_states.widgets] == ["slider", "button"]
