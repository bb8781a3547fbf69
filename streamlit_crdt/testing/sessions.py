"""`sessions_of`: several people who have one app open, for a test."""

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
"""So often all may be woken before it is taken for endless. What is damped (rule P4) ends after three or four."""

TIMEOUT_S: Final = 10.0
"""How long one run of a script may take; AppTest's own three seconds are short for a first run on a busy machine."""


def sessions_of(
    app: str | Path | Callable[..., Any],
    count: int = 2,
    *,
    authorize: Authorize | None = None,
    default_timeout: float = TIMEOUT_S,
    **opening: Unpack[Opening],
) -> Sessions:
    """Open an app `count` times, with a room server of its own that is in memory::

        with sessions_of("app.py") as people:
            ada, ben = people
            ada.slider(key="guests").set_value(12).run()
            people.settle()
            assert ben.slider(key="guests").value == 12

    Args:
        app: the app's script, a path relative to the file that calls this; or a function, as for
            `AppTest.from_function`.
        count: how many have it open at first; `join` opens it for another one.
        authorize: who may enter which room, as `crdt_app` takes it.
        default_timeout: seconds that one run of the script may take.
        opening: `args`, `kwargs`, `query_params`, `session_state`, `secrets`, `user`: how they open it, see `Opening`.
            For people who open it differently, take a count of 0 and `join` each.

    Raises:
        FileNotFoundError: there is no such script.
    """
    if not callable(app):
        app = Path(sys._getframe(1).f_code.co_filename).parent / app
        if not app.is_file():
            raise FileNotFoundError(f"there is no script {app}: a path is relative to the file that names it")
    return Sessions(App(app, default_timeout, opening), count, authorize)


class Sessions(Sequence[AppTest]):
    """The people who have an app open, each an `AppTest`; made by `sessions_of`, and used in its `with` block.

    Each is a session as in a browser, with a replica of its own, which merges with the others' in the rooms that the
    script names, however many. What one does is with the others' sessions at once; their scripts show it when they are
    run, by their own `run()` or by `settle()`. As AppTest itself, it belongs to one thread.
    """

    def __init__(self, app: App, count: int, authorize: Authorize | None) -> None:
        self._app = app
        self._count = count
        self._authorize = authorize
        self._people: list[SimulatedUser] = []
        self._lines: dict[str, SimulatedNetwork | None] = {}
        self._cuts: list[tuple[SimulatedUser, ...]] = []
        self._rooms = MemoryServer()
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self._rooms)
            opened.enter_context(backend.standing_in(self._line))
            opened.enter_context(participant.installed(self._authorize))
            opened.callback(self._leave_all)
            for _ in range(self._count):
                self.join()
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()

    # -- who is here ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._people)

    @overload
    def __getitem__(self, index: int) -> AppTest: ...

    @overload
    def __getitem__(self, index: slice) -> list[AppTest]: ...

    def __getitem__(self, index: int | slice) -> AppTest | list[AppTest]:
        found = self._people[index]
        return [person.app for person in found] if isinstance(found, list) else found.app

    def join(self, *, run: bool = True, **opening: Unpack[Opening]) -> AppTest:
        """Open the app once more.

        Args:
            run: whether to run the script, as opening a page does. If False, set up the AppTest and call its `run()`.
            opening: where it differs from what `sessions_of` was given, see `Opening`.

        Raises:
            StreamlitTooOldError: `user` is given, and this Streamlit's AppTest knows no user.
        """
        page = self._app.open(opening)
        person = SimulatedUser(page, SimulatedNetwork(self._rooms))
        person.line.is_cut = self._is_cut(person)
        self._people.append(person)
        self._lines[person.key] = person.line
        return page.run() if run else page

    def leave(self, session: AppTest) -> None:
        """Close a page. What it edited while it was apart goes with it.

        Raises:
            SessionGoneError: it has left already.
        """
        person = self._person(session, "leave")
        person.leave()
        self._people.remove(person)
        self._lines[person.key] = None

    def _leave_all(self) -> None:
        for person in self._people:
            person.leave()

    # -- what happens --------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Run whoever has news, as their tabs would, until nobody has any.

        What was set in a widget and not run stays set, like something that is being typed.

        Raises:
            NeverSettlesError: sessions wake each other for ever.
            ScriptFailedError: a script that was run raised, or did not end in time.
        """
        __tracebackhide__ = True
        for _ in range(MAX_ROUNDS):
            causes: dict[str, None] = {}
            for person in self._people:
                news = person.hear()
                if news:
                    causes.update(dict.fromkeys(news))
                    self._wake(person)
            if not causes:
                return
        raise NeverSettlesError(MAX_ROUNDS, list(causes))

    def _wake(self, person: SimulatedUser) -> None:
        __tracebackhide__ = True
        try:
            person.wake()
        except RuntimeError as error:  # AppTest's, at the end of its patience
            raise ScriptFailedError(self._name(person), str(error)) from error
        self._check(person)

    @contextmanager
    def apart(self, *sessions: AppTest) -> Iterator[None]:
        """Keep sessions from hearing of anybody else, and anybody from hearing of them, during the block.

        Their `room.status` is "offline" meanwhile. With no argument everybody is apart: what they do then, they do at
        the same moment. When the block ends, what each did reaches the others, and is merged.

        Raises:
            SessionGoneError: one of them has left.
        """
        cut = tuple(self._person(session, "be set apart") for session in sessions)
        self._cuts.append(cut)
        for person in self._people:
            if self._is_cut(person) and not person.line.is_cut:
                person.cut()
        try:
            yield
        finally:
            self._cuts.remove(cut)
            for person in self._people:
                if person.line.is_cut and not self._is_cut(person):
                    person.heal()

    def _is_cut(self, person: SimulatedUser) -> bool:
        return any(not cut or person in cut for cut in self._cuts)

    # -- what must hold ------------------------------------------------------------------------------------------

    def assert_converged(self, *sessions: AppTest, ignore: Iterable[str] = ()) -> None:
        """Settle, then compare what is shown by those who are in one room: widgets, and values in `st.session_state`.

        Only shared keys count, and only where a session shows them: a widget that is hidden in one of them is compared
        among the others. A widget that cannot show the room's value (rule P2) is a difference, for its person
        sees something else.

        Args:
            sessions: those to compare; all if none is named.
            ignore: keys or globs that may differ.

        Raises:
            NotConvergedError: they show different values; it says who shows what.
            NothingSharedError: no two of them are in one room.
            StillApartError: one of them is apart.
            ScriptFailedError: the page of one of them shows an exception.
            NeverSettlesError: as `settle`.
            SessionGoneError: one of them has left.
        """
        __tracebackhide__ = True
        compared = [self._person(session, "be compared") for session in sessions] or list(self._people)
        if apart := [person for person in compared if person.line.is_cut]:
            raise StillApartError(list(map(self._name, apart)))
        self.settle()
        for person in compared:
            self._check(person)
        named = {self._name(person): person for person in compared}
        self._check_company(named)
        found = differences(named, self._rooms.replica, ignore)
        if found:
            raise NotConvergedError(found)

    def values_in(self, room: str = "default") -> dict[str, Any]:
        """Return what the room of this name holds, by key; a widget without a key has one that begins with `crdt:`.

        What is not in here has reached nobody: a private key, a default that nobody has changed.
        """
        return dict(self._rooms.replica(room).items())

    # -- inside --------------------------------------------------------------------------------------------------

    def _line(self) -> SimulatedNetwork | None:
        """Return the line of the session whose script calls; None if it is none of these."""
        key = _compat.running_session_key()
        if key is None or key not in self._lines:
            return None
        line = self._lines[key]
        if line is None:
            raise SessionGoneError("run its script")
        return line

    def _person(self, session: AppTest, wanted: str) -> SimulatedUser:
        for person in self._people:
            if person.app is session:
                return person
        raise SessionGoneError(wanted)

    def _name(self, person: SimulatedUser) -> str:
        return f"people[{self._people.index(person)}]"

    def _check_company(self, named: Mapping[str, SimulatedUser]) -> None:
        __tracebackhide__ = True
        rooms = {name: [room_session.room for room_session in person.rooms] for name, person in named.items()}
        everybodys = [room for of_one in rooms.values() for room in of_one]
        if len(named) > 1 and len(set(everybodys)) == len(everybodys):
            raise NothingSharedError(rooms)

    def _check(self, person: SimulatedUser) -> None:
        __tracebackhide__ = True
        if person.failure is not None:
            raise ScriptFailedError(self._name(person), person.failure)
