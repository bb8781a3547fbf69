"""`sessions_of`: settings of sessions, their rooms and their cleanup."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import streamlit_crdt.testing
from streamlit_crdt import StreamlitTooOldError, Visitor
from streamlit_crdt.access.participant import Role
from streamlit_crdt.backend import backend
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.testing import SessionGoneError, sessions_of
from tests.project.test_layers import imports, modules


def planning() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync("planning"):
        st.slider("Guests", 0, 50, 8, key="guests")
        st.number_input("without a key", 0, 100, 1)


def test_edit_reaches_the_other_sessions() -> None:
    with sessions_of(planning, 3) as people:
        ada, ben, cem = people
        ada.slider(key="guests").set_value(12).run()
        ben.number_input[0].set_value(3).run()
        people.settle()
        assert [one.slider(key="guests").value for one in people] == [12, 12, 12]
        assert [one.number_input[0].value for one in people] == [3, 3, 3]
        assert cem is people[2]
        people.assert_converged()


def test_edit_is_visible_in_the_next_run_of_another_session() -> None:
    with sessions_of(planning) as (ada, ben):
        for guests in range(9, 30):
            ada.slider(key="guests").set_value(guests).run()
            assert ben.run().slider(key="guests").value == guests


def test_each_block_has_its_own_rooms() -> None:
    with sessions_of(planning) as outer, sessions_of(planning) as inner:
        outer[0].slider(key="guests").set_value(12).run()
        inner[0].slider(key="guests").set_value(30).run()
        for people, guests in ((outer, 12), (inner, 30)):
            people.assert_converged()
            assert people.values_in("planning") == {"guests": guests}
    with sessions_of(planning) as people:
        assert people[0].slider(key="guests").value == 8


def test_block_starts_no_server_and_leaves_no_session() -> None:
    mounted, embedded = backend._process.mounted, backend._process.embedded
    backend._process.embedded = None
    try:
        with sessions_of(planning) as people:
            people[0].slider(key="guests").set_value(12).run()
            keys = [session.id for session in registry.sessions()]
            assert len(keys) == 2
        assert (backend._process.mounted, backend._process.embedded) == (mounted, None)
        assert backend._process.overrides == ()
        assert registry.sessions() == []
        assert "streamlit-crdt-testing" not in {thread.name for thread in threading.enumerate()}
    finally:
        backend._process.embedded = embedded


def test_unrelated_AppTest_keeps_its_own_backend() -> None:
    with sessions_of(planning) as people:
        stranger = AppTest.from_function(planning).run()
        people[0].slider(key="guests").set_value(12).run()
        assert stranger.run().slider(key="guests").value == 8


def elsewhere() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync("planning", server="wss://rooms.example.com"):
        st.slider("Guests", 0, 50, 8, key="guests")


def test_server_argument_of_the_app_is_ignored() -> None:
    with sessions_of(elsewhere) as people:
        people[0].slider[0].set_value(12).run()
        people.assert_converged()
        assert people[1].slider[0].value == 12


def rooms_by_address() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room = crdt_sync(st.query_params.get("room", "lobby"), role=st.query_params.get("role", "editor"))
    st.slider("Guests", 0, 50, 8, key="guests")
    st.write(room.name, room.role, st.session_state.get("name", "guest"))


def test_sessions_can_have_different_settings() -> None:
    with sessions_of(rooms_by_address, 0) as people:
        ada = people.join(query_params={"room": "red"}, session_state={"name": "Ada"})
        ben = people.join(query_params={"room": "red", "role": "viewer"})
        cem = people.join()
        dan = people.join(run=False)
        dan.query_params["room"] = "red"
        dan.run()
        assert ada.markdown[0].value == "red editor Ada"
        assert "red viewer" in ben.markdown[0].value
        ada.slider[0].set_value(12).run()
        cem.slider[0].set_value(30).run()
        people.assert_converged()
        assert [one.slider[0].value for one in people] == [12, 12, 30, 12]
        assert people.values_in("red") == {"guests": 12, "name": "Ada"}


def test_sessions_join_and_leave() -> None:
    with sessions_of(planning) as people:
        ada, ben = people
        ada.slider(key="guests").set_value(12).run()
        late = people.join()
        assert late.slider(key="guests").value == 12
        people.leave(ada)
        assert list(people) == [ben, late]
        late.slider(key="guests").set_value(20).run()
        people.assert_converged()
        assert ben.slider(key="guests").value == 20
        assert "has left" in ada.run().exception[0].message
        for use in (people.leave, people.assert_converged, lambda session: people.apart(session).__enter__()):
            with pytest.raises(SessionGoneError, match="has left"):
                use(ada)


def in_two_rooms() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync("x", keys=["x*"]):
        st.slider("x", key="x")
    with crdt_sync("y", keys=["y*"]):
        st.slider("y", key="y")


def test_app_can_be_in_several_rooms() -> None:
    with sessions_of(in_two_rooms) as people:
        people[0].slider(key="x").set_value(3)
        people[0].slider(key="y").set_value(4).run()
        people.assert_converged()
        assert (people.values_in("x"), people.values_in("y")) == ({"x": 3}, {"y": 4})
        assert [slider.value for slider in people[1].slider] == [3, 4]


def takes_arguments(room: str, top: int = 10) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.slider("x", 0, top, key="x")


def test_function_receives_its_arguments() -> None:
    with sessions_of(takes_arguments, 1, args=("a",), kwargs={"top": 20}) as people:
        people.join()
        people.join(args=("b",))
        assert [one.slider[0].max for one in people] == [20, 20, 20]
        people[0].slider[0].set_value(15).run()
        people.assert_converged()
        assert [one.slider[0].value for one in people] == [15, 15, 0]


def test_script_path_is_relative_and_no_file_is_written(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        "import streamlit as st\nfrom streamlit_crdt import crdt_sync\ncrdt_sync()\nst.slider('x', key='x')\n"
    )
    with sessions_of(script) as people:
        people[0].slider[0].set_value(3).run()
        people.assert_converged()
        assert people.values_in() == {"x": 3}
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["app.py"]
    beside = compile(
        "from streamlit_crdt.testing import sessions_of\nopened = sessions_of('app.py')",
        tmp_path / "t.py",
        "exec",
    )
    exec(beside, {})
    with pytest.raises(FileNotFoundError, match=r"no_such\.py"):
        sessions_of("no_such.py")


def test_user_setting_needs_a_recent_streamlit() -> None:
    def app() -> None:
        import streamlit as st

        st.write(st.user.to_dict().get("email", "guest"))

    with sessions_of(app, 0) as people:
        if not hasattr(AppTest.from_function(app), "user"):
            with pytest.raises(StreamlitTooOldError, match=r"1\.67"):
                people.join(user={"email": "ada@example.com"})
            return
        assert people.join(user={"email": "ada@example.com"}).markdown[0].value == "ada@example.com"


def test_authorize_hook_decides_roles_and_entry() -> None:
    roles: dict[str, Role] = {"red": "editor", "lobby": "viewer"}

    def decide(visitor: Visitor) -> Role | None:
        return roles.get(visitor.room)

    with sessions_of(rooms_by_address, 0, authorize=decide) as people:
        ada = people.join(query_params={"room": "red"})
        eve = people.join()
        out = people.join(query_params={"room": "blue"})
        assert [one.markdown[0].value for one in (ada, eve)] == ["red editor guest", "lobby viewer guest"]
        assert "may not enter" in out.exception[0].message
    with sessions_of(rooms_by_address, 1) as people:
        assert people[0].markdown[0].value == "lobby editor guest"


def test_A1_authorize_hook_can_use_the_logged_in_user() -> None:
    def board() -> None:
        import streamlit as st

        from streamlit_crdt import crdt_sync

        st.text(crdt_sync("planning").role)
        st.slider("level", key="level")

    def decide(visitor: Visitor) -> Role:
        return "editor" if visitor.user["email"] == "ada@example.com" else "viewer"

    with sessions_of(board, 0, authorize=decide) as people:
        try:
            ada = people.join(user={"email": "ada@example.com"})
        except StreamlitTooOldError:
            return  # this version of AppTest supports only one user
        eve = people.join(user={"email": "eve@example.com"})
        assert (ada.text[0].value, eve.text[0].value) == ("editor", "viewer")
        ada.slider[0].set_value(3).run()
        eve.slider[0].set_value(9).run()
        people.settle()
        assert (ada.slider[0].value, eve.slider[0].value) == (3, 3)


def test_package_imports_no_test_framework() -> None:
    for module in modules("streamlit_crdt"):
        if module.startswith("streamlit_crdt.testing."):
            assert not any(name.split(".")[0] in ("pytest", "_pytest") for name in imports(module)), module


def test_all_is_sorted_and_its_names_exist() -> None:
    assert sorted(streamlit_crdt.testing.__all__) == streamlit_crdt.testing.__all__
    for name in streamlit_crdt.testing.__all__:
        assert hasattr(streamlit_crdt.testing, name)
