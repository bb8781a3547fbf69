"""`sessions_of`: several simulated sessions of one app for a test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, Unpack, overload

from streamlit.testing.v1 import AppTest

from streamlit_crdt import _compat
from streamlit_crdt.access import participant
from streamlit_crdt.access.participant import Authorize
from streamlit_crdt.backend import backend
from streamlit_crdt.testing.app import App, Opening
from streamlit_crdt.testing.convergence import differences
from streamlit_crdt.testing.errors import (
    NeverSettlesError,
    NotConvergedError,
    NothingSharedError,
    ScriptFailedError,
    SessionGoneError,
    StillApartError,
)
from streamlit_crdt.testing.network import MemoryServer, SimulatedNetwork
from streamlit_crdt.testing.simulated_user import SimulatedUser

MAX_ROUNDS: Final = 20
"""Rounds of reruns before `settle` fails. Code that writes in a thread or a callback may need a few."""

TIMEOUT_S: Final = 10.0
"""Seconds of one script run. AppTest's default of three seconds is too short for a first run on a busy machine."""


def sessions_of(
    app: str | Path | Callable[..., Any],
    count: int = 2,
    *,
    authorize: Authorize | None = None,
    default_timeout: float = TIMEOUT_S,
    **opening: Unpack[Opening],
) -> Sessions:
    """Open an app `count` times, with its own room server in memory::

        with sessions_of("app.py") as people:
            ada, ben = people
            ada.slider(key="guests").set_value(12).run()
            people.settle()
            assert ben.slider(key="guests").value == 12

    Args:
        app: path of the script, relative to the file that calls this function, or a function as for
            `AppTest.from_function`.
        count: number of sessions at the start. `join` adds a session.
        authorize: the hook that an app passes to `crdt_app`.
        default_timeout: maximum seconds of one script run.
        opening: settings of each page before its first run, see `Opening`. For sessions with different settings, use a
            count of 0 and `join`.

    Returns:
        The sessions, a context manager.

    Raises:
        FileNotFoundError: the script does not exist.
    """
    if not callable(app):
        app = Path(sys._getframe(1).f_code.co_filename).parent / app
        if not app.is_file():
            raise FileNotFoundError(f"script {app} does not exist: the path is relative to the calling file")
    return Sessions(App(app, default_timeout, opening), count, authorize)


class Sessions(Sequence[AppTest]):
    """Sessions of one app, each an `AppTest`. Created by `sessions_of`, and used in its `with` block.

    Each session has its own replica, as in a deployment, in every room that the script enters. An edit reaches the
    other sessions at once. Their pages show it after their next run, by `run()` or by `settle()`. Like AppTest, this
    class is not thread-safe.
    """

    def __init__(self, app: App, count: int, authorize: Authorize | None) -> None:
        self._app = app
        self._count = count
        self._authorize = authorize
        self._users: list[SimulatedUser] = []
        self._networks: dict[str, SimulatedNetwork | None] = {}
        self._partitions: list[tuple[SimulatedUser, ...]] = []
        self._server = MemoryServer()
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            resources.enter_context(self._server)
            resources.enter_context(backend.overriding(self._running_network))
            resources.enter_context(participant.installed(self._authorize))
            resources.callback(self._leave_all)
            for _ in range(self._count):
                self.join()
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resources.close()

    # -- sessions ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._users)

    @overload
    def __getitem__(self, index: int) -> AppTest: ...

    @overload
    def __getitem__(self, index: slice) -> list[AppTest]: ...

    def __getitem__(self, index: int | slice) -> AppTest | list[AppTest]:
        found = self._users[index]
        return [user.app for user in found] if isinstance(found, list) else found.app

    def join(self, *, run: bool = True, **opening: Unpack[Opening]) -> AppTest:
        """Open the app in a new session.

        Args:
            run: run the script, as opening a page does. With False, set up the AppTest and call its `run()`.
            opening: settings of the page, in addition to those given to `sessions_of`, see `Opening`.

        Returns:
            The new session.

        Raises:
            StreamlitTooOldError: `user` is given, and AppTest of the installed Streamlit does not support it.
        """
        page = self._app.open(opening)
        user = SimulatedUser(page, SimulatedNetwork(self._server))
        user.network.is_cut = self._is_cut(user)
        self._users.append(user)
        self._networks[user.key] = user.network
        return page.run() if run else page

    def leave(self, session: AppTest) -> None:
        """Close the page of a session. Edits that it made while it was apart are lost.

        Raises:
            SessionGoneError: the session has left already.
        """
        user = self._user(session, "leave")
        user.leave()
        self._users.remove(user)
        self._networks[user.key] = None

    def _leave_all(self) -> None:
        for user in self._users:
            user.leave()

    # -- actions -------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Run each session that has unread remote edits, as its tab would, until no session has any.

        A widget value that the test has set without `run()` stays set, like a draft.

        Raises:
            NeverSettlesError: sessions rerun each other without end.
            ScriptFailedError: a script raised an exception, or did not end in time.
        """
        __tracebackhide__ = True
        for _ in range(MAX_ROUNDS):
            all_causes: dict[str, None] = {}
            for user in self._users:
                causes = user.collect_causes()
                if causes:
                    all_causes.update(dict.fromkeys(causes))
                    self._rerun(user)
            if not all_causes:
                return
        raise NeverSettlesError(MAX_ROUNDS, list(all_causes))

    def _rerun(self, user: SimulatedUser) -> None:
        __tracebackhide__ = True
        try:
            user.rerun()
        except RuntimeError as error:  # AppTest raises it at its timeout
            raise ScriptFailedError(self._name(user), str(error)) from error
        self._raise_failure(user)

    @contextmanager
    def apart(self, *sessions: AppTest) -> Iterator[None]:
        """Disconnect sessions from all other sessions during the block.

        Their `room.status` is "offline". Without an argument every session is disconnected, so all edits in the block
        are concurrent. At the end of the block, the sessions reconnect and their edits merge.

        Args:
            sessions: sessions to disconnect; all if none is given.

        Raises:
            SessionGoneError: one of the sessions has left.
        """
        partition = tuple(self._user(session, "be set apart") for session in sessions)
        self._partitions.append(partition)
        for user in self._users:
            if self._is_cut(user) and not user.network.is_cut:
                user.cut()
        try:
            yield
        finally:
            self._partitions.remove(partition)
            for user in self._users:
                if user.network.is_cut and not self._is_cut(user):
                    user.heal()

    def _is_cut(self, user: SimulatedUser) -> bool:
        return any(not partition or user in partition for partition in self._partitions)

    # -- checks --------------------------------------------------------------------------------------------------

    def assert_converged(self, *sessions: AppTest, ignore: Iterable[str] = ()) -> None:
        """Settle, then check that all sessions of a room show the same widget values and `st.session_state` values.

        Compared are shared keys in the sessions that show them. A widget that is hidden in one session is compared
        among the others. A widget that cannot show the room's value (rule P2) is a difference.

        Args:
            sessions: sessions to compare; all if none is given.
            ignore: globs of keys that may differ.

        Raises:
            NotConvergedError: the sessions show different values. The message lists them.
            NothingSharedError: no two of the sessions are in the same room.
            StillApartError: one of the sessions is apart.
            ScriptFailedError: the page of one of the sessions shows an exception.
            NeverSettlesError: sessions rerun each other without end.
            SessionGoneError: one of the sessions has left.
        """
        __tracebackhide__ = True
        compared = [self._user(session, "be compared") for session in sessions] or list(self._users)
        if apart := [user for user in compared if user.network.is_cut]:
            raise StillApartError(list(map(self._name, apart)))
        self.settle()
        for user in compared:
            self._raise_failure(user)
        by_name = {self._name(user): user for user in compared}
        self._require_common_room(by_name)
        found = differences(by_name, self._server.replica, ignore)
        if found:
            raise NotConvergedError(found)

    def values_in(self, room: str = "default") -> dict[str, Any]:
        """Return the values of a room by key. The key of a widget without a key begins with `crdt:`.

        Private keys and unchanged defaults are not in the room.
        """
        return dict(self._server.replica(room).items())

    # -- internals -----------------------------------------------------------------------------------------------

    def _running_network(self) -> SimulatedNetwork | None:
        """Return the network of the session whose script is running, None if it does not belong to these sessions."""
        run = _compat.current_run()
        if run is None or run.session_key not in self._networks:
            return None
        network = self._networks[run.session_key]
        if network is None:
            raise SessionGoneError("run its script")
        return network

    def _user(self, session: AppTest, wanted: str) -> SimulatedUser:
        for user in self._users:
            if user.app is session:
                return user
        raise SessionGoneError(wanted)

    def _name(self, user: SimulatedUser) -> str:
        return f"people[{self._users.index(user)}]"

    def _require_common_room(self, by_name: Mapping[str, SimulatedUser]) -> None:
        __tracebackhide__ = True
        rooms = {name: [room_session.room for room_session in user.rooms] for name, user in by_name.items()}
        all_rooms = [room for rooms_of_user in rooms.values() for room in rooms_of_user]
        if len(by_name) > 1 and len(set(all_rooms)) == len(all_rooms):
            raise NothingSharedError(rooms)

    def _raise_failure(self, user: SimulatedUser) -> None:
        __tracebackhide__ = True
        if user.failure is not None:
            raise ScriptFailedError(self._name(user), user.failure)
