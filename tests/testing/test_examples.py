"""The examples and the demo with several sessions."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from streamlit_crdt.testing import sessions_of

ROOT = Path(__file__).parent.parent.parent


def texts(page: AppTest) -> list[str]:
    return [text.value for text in page.text]


def test_concurrent_chat_messages_are_all_kept_in_one_order() -> None:
    with sessions_of(ROOT / "examples" / "chat.py", 3) as people:
        for round_ in range(3):
            with people.apart():
                for number, one in enumerate(people):
                    one.chat_input[0].set_value(f"{round_} of {number}").run()
            people.assert_converged()
        late = people.join()
        assert sorted(texts(late)) == [f"{round_} of {number}" for round_ in range(3) for number in range(3)]
        assert [texts(one) for one in people] == [texts(late)] * 4


def test_chat_takes_its_room_from_the_query() -> None:
    with sessions_of(ROOT / "examples" / "chat.py", 1) as people:
        other = people.join(query_params={"room": "other"})
        people[0].text_input[0].set_value("Ada")
        people[0].chat_input[0].set_value("hello").run()
        people.settle()
        assert (texts(people[0]), texts(other)) == (["hello"], [])
        assert people.values_in("chat") == {"messages": [{"name": "Ada", "text": "hello"}]}


def test_demo_counts_concurrent_clicks_and_shares_filters() -> None:
    with sessions_of(ROOT / "streamlit_crdt" / "deploy" / "demo" / "app.py", 2, default_timeout=30) as people:
        ada, ben = people
        with people.apart():
            ada.button[2].click().run()
            ben.button[2].click().run()
            ben.multiselect[0].set_value(ben.multiselect[0].value[:1]).run()
        people.assert_converged()
        assert ada.session_state.cups_drunk == 2
        assert len(ada.multiselect[0].value) == 1
        ben.button(key="undo").click().run()
        people.assert_converged()
        assert len(ada.multiselect[0].value) > 1
