"""Tests of apps that several people use at once, on Streamlit's own AppTest: no browser, no port, no file.

    from streamlit_crdt.testing import sessions_of

    def test_two_people_plan():
        with sessions_of("app.py") as people:
            ada, ben = people
            ada.slider(key="guests").set_value(12).run()
            people.assert_converged()
            assert ben.slider(key="guests").value == 12

It is no part of a running app, and needs no test framework: what fails raises an `AssertionError`.
"""

from streamlit_crdt.testing.app import Opening
from streamlit_crdt.testing.difference import Difference, Sight
from streamlit_crdt.testing.errors import (
    NeverSettlesError,
    NotConvergedError,
    NothingSharedError,
    ScriptFailedError,
    SessionGoneError,
    StillApartError,
)
from streamlit_crdt.testing.sessions import Sessions, sessions_of

__all__ = [
    "Difference",
    "NeverSettlesError",
    "NotConvergedError",
    "NothingSharedError",
    "Opening",
    "ScriptFailedError",
    "SessionGoneError",
    "Sessions",
    "Sight",
    "StillApartError",
    "sessions_of",
]
