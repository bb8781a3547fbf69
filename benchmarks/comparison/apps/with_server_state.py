"""The cases with streamlit-server-state. As in its examples, a widget gets its value from the state and returns it."""

import streamlit as st
from cases import count_run, run
from streamlit_server_state import server_state, server_state_lock

count_run()


class Library:
    state = server_state

    def private(self, name):
        return name

    def text(self, label):
        return self._widget(st.text_input, label, label, "")

    def area(self, label):
        return self._widget(st.text_area, label, label, "")

    def field(self, label):
        return st.text_input(label)

    def choices(self, label, options):
        return self._widget(lambda selected: st.multiselect(label, options, selected), label, None, [])

    def add_one(self, name):
        with server_state_lock[name]:
            server_state[name] += 1

    def _widget(self, show_widget, name, label, default):
        with server_state_lock[name]:
            if name not in server_state:
                server_state[name] = default
            value = server_state[name]
            server_state[name] = show_widget(value) if label is None else show_widget(label, value)
            return server_state[name]


run(Library())
