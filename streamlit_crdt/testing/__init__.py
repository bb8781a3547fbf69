"""Tests of an app with several sessions at once, on Streamlit's AppTest, without a browser, a port or a file.

    from streamlit_crdt.testing import sessions_of

    def test_two_people_plan():
        with sessions_of("app.py") as people:
            ada, ben = people
            ada.slider(key="guests").set_value(12).run()
            people.assert_converged()
            assert ben.slider(key="guests").value == 12

A running app does not import this package. It needs no test framework: a failure raises an `AssertionError`.
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
