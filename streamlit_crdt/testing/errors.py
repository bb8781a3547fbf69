"""What fails a test, each with the parts of its message as attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamlit_crdt.errors import CrdtError
from streamlit_crdt.testing.difference import Difference


class NotConvergedError(CrdtError, AssertionError):
    """Sessions that are in one room do not show the same.

    Attributes: `differences`, one for each key.
    """

    def __init__(self, differences: Sequence[Difference]) -> None:
        super().__init__(differences)
        self.differences = tuple(differences)

    def __str__(self) -> str:
        return "\n".join(["the sessions do not show the same:", *map(str, self.differences)])


class NeverSettlesError(CrdtError, AssertionError):
    """Sessions wake each other again and again: each run of one writes something that another must be run for.

    Attributes: `rounds` that were run; `causes`, what they were run for last: keys, and names of events.
    """

    def __init__(self, rounds: int, causes: Sequence[str]) -> None:
        super().__init__(rounds, causes)
        self.rounds = rounds
        self.causes = tuple(causes)

    def __str__(self) -> str:
        return (
            f"the sessions still wake each other after {self.rounds} rounds, because of {', '.join(self.causes)}: the "
            "script writes there on each run. Write only when somebody acts, or keep it private=[...] to the session."
        )


class ScriptFailedError(CrdtError, AssertionError):
    """The page of a session shows an exception, or its script did not end in time.

    Attributes: `session`, by which of all it is; `text`, the exception with its traceback.
    """

    def __init__(self, session: str, text: str) -> None:
        super().__init__(session, text)
        self.session = session
        self.text = text

    def __str__(self) -> str:
        return f"the script of {self.session} failed:\n{self.text}"


class SessionGoneError(CrdtError, RuntimeError):
    """A session was used after it had left, or is none of these.

    Attributes: `wanted`, what was to be done with it.
    """

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"cannot {self.wanted}: this session has left, or was never one of these. join() makes a new one."
        )


class NothingSharedError(CrdtError, AssertionError):
    """No two of the sessions are in one room, so there is nothing that they could have in common.

    Attributes: `rooms`, the rooms that each session is in, by its name.
    """

    def __init__(self, rooms: Mapping[str, Sequence[str]]) -> None:
        super().__init__(rooms)
        self.rooms = dict(rooms)

    def __str__(self) -> str:
        where = (f"{name} is in {', '.join(rooms) or 'none'}" for name, rooms in self.rooms.items())
        return f"no two of the sessions are in one room: {'; '.join(where)}."


class StillApartError(CrdtError, RuntimeError):
    """Sessions that are apart cannot show the same.

    Attributes: `sessions` that are apart.
    """

    def __init__(self, sessions: Sequence[str]) -> None:
        super().__init__(sessions)
        self.sessions = tuple(sessions)

    def __str__(self) -> str:
        return (
            f"{', '.join(self.sessions)} is apart from the others: compare after the block of apart(), or name the "
            "sessions to compare, as in assert_converged(people[0], people[1])."
        )
