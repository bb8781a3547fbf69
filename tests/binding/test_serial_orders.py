"""Model-based test of R9: what sessions show equals the result of some serial order of the people's acts.

`tests/support/serial_model.py` describes the scenarios. A failing one is shrunk and printed as a script.
"""

from __future__ import annotations

from random import Random

import pytest

from streamlit_crdt.binding import local_edits
from tests.support.serial_model import Act, Event, Scenario, fault_of, random_scenario, shrunk

ORDINARY = [range(start, start + 250) for start in range(0, 3_000, 250)]
SOAK = [range(start, start + 25_000) for start in range(0, 1_000_000, 25_000)]
"""3000 scenarios take about 50 s of CPU time, which two workers share. `make soak` runs a million."""


@pytest.mark.parametrize(
    "seeds", [*ORDINARY, *(pytest.param(seeds, marks=pytest.mark.soak) for seeds in SOAK)], ids=str
)
def test_R9_random_scripts_show_a_serial_order(seeds: range) -> None:
    for seed in seeds:
        scenario = random_scenario(Random(seed))
        if fault_of(scenario) is not None:
            smallest = shrunk(scenario)
            pytest.fail(f"seed {seed}:\n{smallest}\n{fault_of(smallest)}", pytrace=False)


def two_act(part: str, kind: str, argument: object) -> Scenario:
    acts = tuple(Event("act", session, Act(part, kind, argument)) for session in (0, 1))
    return Scenario(("w", part), 2, acts, (1, 2))


def test_R9_model_finds_a_script_that_each_session_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_edits, "_is_by_person", lambda *_: True)
    scenario = two_act("deck", "start", None)
    noisy = Scenario(
        (*scenario.parts, "votes", "list"),
        4,
        (Event("wake", 2), Event("act", 3, Act("votes", "vote", 1)), *scenario.events, Event("timer", 1)),
        (1, 2, 3, 4),
    )
    assert fault_of(noisy) is not None
    smallest = shrunk(noisy)
    assert smallest == scenario
    assert str(smallest).splitlines() == [
        "2 sessions of",
        "    w = st.slider('w')",
        "    if start and not state.deck: state.deck = ['é', 'é', {'n': 1}]",
        "session 0: start None (deck)",
        "session 1: start None (deck)",
    ]


def test_R9_model_accepts_equal_acts_of_two_people() -> None:
    assert fault_of(two_act("deck", "start", None)) is None
    assert fault_of(two_act("chat", "say", "hi")) is None
