"""Errors of `streamlit_crdt.testing`. The parts of each message are attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamlit_crdt.errors import CrdtError
from streamlit_crdt.testing.difference import Difference


class NotConvergedError(CrdtError, AssertionError):
    """Raised when the sessions of a room show different values.

    Attributes:
        differences: one for each key.
    """

    def __init__(self, differences: Sequence[Difference]) -> None:
        super().__init__(differences)
        self.differences = tuple(differences)

    def __str__(self) -> str:
        return "\n".join(["the sessions do not show the same:", *map(str, self.differences)])


class NeverSettlesError(CrdtError, AssertionError):
    """Raised when sessions rerun each other without end: each run writes a value that reruns another session.

    Attributes:
        rounds: number of rounds that were run.
        causes: causes of the last round: keys, and names of events.
    """

    def __init__(self, rounds: int, causes: Sequence[str]) -> None:
        super().__init__(rounds, causes)
        self.rounds = rounds
        self.causes = tuple(causes)

    def __str__(self) -> str:
        return (
            f"the sessions still rerun each other after {self.rounds} rounds, because of {', '.join(self.causes)}: the "
            "script writes it in each run. Write only after an action of a user, or name it in private=[...]."
        )


class ScriptFailedError(CrdtError, AssertionError):
    """Raised when the page of a session shows an exception, or when its script did not end in time.

    Attributes:
        session: name of the session, for example "people[0]".
        text: the exception with its traceback.
    """

    def __init__(self, session: str, text: str) -> None:
        super().__init__(session, text)
        self.session = session
        self.text = text

    def __str__(self) -> str:
        return f"the script of {self.session} failed:\n{self.text}"


class SessionGoneError(CrdtError, RuntimeError):
    """Raised when a session is used after it has left, or when it does not belong to these sessions.

    Attributes:
        wanted: the attempted action.
    """

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"this session cannot {self.wanted}: it has left, or does not belong to these sessions. "
            "join() creates a new one."
        )


class NothingSharedError(CrdtError, AssertionError):
    """Raised when no two of the compared sessions are in the same room.

    Attributes:
        rooms: rooms of each session, by its name.
    """

    def __init__(self, rooms: Mapping[str, Sequence[str]]) -> None:
        super().__init__(rooms)
        self.rooms = dict(rooms)

    def __str__(self) -> str:
        where = (f"{name} is in {', '.join(rooms) or 'none'}" for name, rooms in self.rooms.items())
        return f"no two of the sessions are in one room: {'; '.join(where)}."


class StillApartError(CrdtError, RuntimeError):
    """Raised when a session is compared while it is apart from the others.

    Attributes:
        sessions: names of the sessions that are apart.
    """

    def __init__(self, sessions: Sequence[str]) -> None:
        super().__init__(sessions)
        self.sessions = tuple(sessions)

    def __str__(self) -> str:
        return (
            f"{', '.join(self.sessions)} is apart from the others: compare after the block of apart(), or name the "
            "sessions to compare, as in assert_converged(people[0], people[1])."
        )
