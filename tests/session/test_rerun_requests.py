"""Rerun requests and their causes, alone and joined by Streamlit's request queue."""

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


def requests_of(*sent: tuple[dict[str, bytes], bool]) -> RerunRequests:
    requests = RerunRequests()
    for values, is_timers in sent:
        requests.add(values, is_timers=is_timers)
    return requests


def test_P1_request_cause_is_change_since_last_request() -> None:
    requests = requests_of((states(a=1, b=1), False), (states(a=1, b=2), False))
    assert requests.take(1) is not None
    cause = requests.take(2)
    assert cause is not None
    assert (cause.changed, cause.is_timers) == ({"b"}, False)


def test_P1_request_cause_includes_change_in_timer_request() -> None:
    requests = requests_of((states(a=1, b=1), False), (states(a=1, b=2), True), (states(a=1, b=2), False))
    for number in (1, 2):
        requests.take(number)
    cause = requests.take(3)
    assert cause is not None
    assert (cause.changed, cause.is_timers) == ({"b"}, False)
    requests.add(states(a=1, b=2), is_timers=False)
    later = requests.take(4)
    assert later is not None
    assert later.changed == frozenset()


def test_P1_run_of_joined_requests_has_all_their_causes() -> None:
    requests = requests_of((states(a=1), False), (states(a=2), False), (states(a=2, b=1), True))
    requests.take(1)
    cause = requests.take(3)
    assert cause is not None
    assert (cause.changed, cause.is_timers) == ({"a", "b"}, False)


def test_P1_first_request_has_no_cause() -> None:
    cause = requests_of((states(a=1), False)).take(1)
    assert cause is not None
    assert cause.changed is None


def test_requests_without_run_are_bounded() -> None:
    requests = requests_of(*[(states(a=1), True)] * (MAX_REQUESTS + 5))
    assert requests.take(5) is None
    assert requests.take(MAX_REQUESTS + 5) is not None


# -- through Streamlit ------------------------------------------------------------------------------------------


@dataclass
class Page:
    """The part of Streamlit's AppSession that takes rerun requests. The script runner's requests are `pending`."""

    id: str = "superseded"
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

    def request(self, fragment: str = "", *, timer: bool = False, **sent: int | bool) -> ClientStateProto:
        client_state = ClientStateProto(
            fragment_id=fragment, is_auto_rerun=timer, widget_states=client_state_of(**sent)
        )
        AppSession.request_rerun(self, client_state)  # type: ignore[arg-type]
        return client_state

    def next_run(self) -> RerunData:
        """Take the request of the next run."""
        data = self.pending.on_scriptrunner_ready().rerun_data
        self.pending = ScriptRequests()
        return data


def client_state_of(**sent: int | bool) -> WidgetStates:
    values = WidgetStates()
    for name, value in sent.items():
        if value is True:
            values.widgets.add(id=name, trigger_value=True)
        else:
            values.widgets.add(id=name, int_value=value)
    return values


@pytest.fixture
def runner() -> Iterator[Runner]:
    _compat.install(SessionHooks(registry))
    runner = Runner(SessionState(), "only")
    registry.open(_compat.run_context_of(runner.context))
    yield runner
    registry._sessions.pop("superseded")


@pytest.fixture
def session(runner: Runner) -> Session:
    return registry.open(_compat.run_context_of(runner.context)).session


@pytest.fixture
def page(session: Session) -> Page:
    return Page()


def begin(session: Session, runner: Runner, data: RerunData) -> ClientState:
    """Begin a run as Streamlit's script runner does; return its client state."""
    runner.context.fragment_ids_this_run = list(data.fragment_id_queue) or None
    begin_run(runner.context)
    runner.start(runner.state.on_script_will_rerun, data.widget_states).join(WAIT_S)
    run = session.run_of(_compat.run_context_of(runner.context))
    assert run.client_state is not None
    return run.client_state


def test_P1_code_rerun_joined_with_timer_request_is_no_edit(
    session: Session, runner: Runner, page: Page
) -> None:
    page.request(slider=4)
    begin(session, runner, page.next_run())
    page.request("panel", timer=True, slider=4)
    page.pending.request_rerun(RerunData())
    data = page.next_run()
    assert not data.fragment_id_queue, "Streamlit joins the two requests to a full run"
    assert not begin(session, runner, data).is_caused_only_by(SLIDER)


def test_P1_edit_already_in_timer_request_is_no_other_widgets_edit(
    session: Session, runner: Runner, page: Page
) -> None:
    for fragment, number in (("", 1), ("panel", 2)):
        page.request(fragment, timer=bool(fragment), slider=4, number=number)
        begin(session, runner, page.next_run())
    page.request(slider=4, number=2)
    assert not begin(session, runner, page.next_run()).is_caused_only_by(SLIDER)
    page.request(slider=4, number=2)
    assert begin(session, runner, page.next_run()).is_caused_only_by(SLIDER)


def test_request_number_is_not_in_session_state(session: Session, runner: Runner, page: Page) -> None:
    page.request(slider=4)
    data = page.next_run()
    assert data.widget_states is not None
    assert len(data.widget_states.widgets) == 2
    assert list(begin(session, runner, data).states) == ["slider"]
    assert list(runner.state._state._new_widget_state) == ["slider"]


def test_request_without_client_state_gets_no_number(page: Page, session: Session) -> None:
    assert not page.request().widget_states.widgets
    assert session.requests.take(MAX_REQUESTS) is None


def test_repeated_request_has_one_number(page: Page) -> None:
    client_state = page.request(slider=4)
    AppSession.request_rerun(page, client_state)  # type: ignore[arg-type]
    assert len(client_state.widget_states.widgets) == 2


def test_P6_click_in_timer_request_is_dropped(page: Page) -> None:
    client_state = page.request("panel", timer=True, slider=4, button=True)
    assert "button" not in [state.id for state in client_state.widget_states.widgets]
    assert client_state.fragment_id == "panel"


def test_P6_click_outside_requested_fragment_causes_full_run(page: Page) -> None:
    for name, fragment in (("inside", "panel"), ("outside", None)):
        metadata = WidgetMetadata(name, bool, bool, "trigger_value", fragment_id=fragment)
        page._session_state._new_widget_state.set_widget_metadata(metadata)
    assert page.request("panel", slider=4, inside=True).fragment_id == "panel"
    assert page.request("panel", slider=4, outside=True).fragment_id == ""


def test_request_of_unknown_session_is_unchanged() -> None:
    _compat.install(SessionHooks(registry))
    client_state = Page("unknown").request("panel", timer=True, slider=4, button=True)
    assert [state.id for state in client_state.widget_states.widgets] == ["slider", "button"]


def test_R9_frame_and_timer_are_not_by_a_person_unless_joined_with_an_edit() -> None:
    requests = RerunRequests()
    frame = requests.add(states(a=1), is_timers=False, is_frame=True)
    cause = requests.take(frame)
    assert cause is not None and not cause.is_by_person
    requests.add(states(a=1), is_timers=True)
    edit = requests.add(states(a=2), is_timers=False)
    cause = requests.take(edit)
    assert cause is not None and cause.is_by_person
