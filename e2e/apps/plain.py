"""Plain values of every shareable type, and a counter. Prints the session's values as JSON."""

import json
import os
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy
import pandas
import streamlit as st

from streamlit_crdt import crdt_sync, private_key

VALUES = {
    "int": 7,
    "float": 2.0,
    "bool": True,
    "none": None,
    "false": False,
    "zero": 0,
    "empty": "",
    "str": "héllo 👩‍👩‍👧 e\u0301",
    "bytes": b"\x00\xff",
    "list": [1, 2.0, "a"],
    "tuple": (1, (2, 3)),
    "set": {1, 2},
    "dict": {"a": {"b": [1]}},
    "date": date(2024, 2, 29),
    "time": time(1, 2, 3, 4),
    "datetime": datetime(2024, 2, 29, 1, 2, 3),
    "utc": datetime(2024, 2, 29, tzinfo=UTC),
    "zone": datetime(2024, 2, 29, tzinfo=ZoneInfo("Europe/Paris")),
    "timedelta": timedelta(days=1, microseconds=3),
    "decimal": Decimal("1.10"),
    "uuid": uuid.UUID(int=5),
    "numpy": numpy.float32(1.5),
    "timestamp": pandas.Timestamp("2024-02-29 01:02:03"),
    "array": numpy.arange(6).reshape(2, 3),
    "series": pandas.Series([1, 2], name="s"),
    "frame": pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
}

with crdt_sync(st.query_params.get("room", "plain"), server=os.environ.get("CRDT_SERVER")) as room:
    st.session_state.setdefault("clicks", 0)
    if st.button("assign"):
        for name, value in VALUES.items():
            st.session_state[f"v_{name}"] = value
    if st.button("forget"):
        for name in VALUES:
            st.session_state.pop(f"v_{name}", None)
    if st.button("click"):
        st.session_state["clicks"] += 1
    if st.button("lock"):
        st.session_state["lock"] = object()
    if st.button("unlock"):
        st.session_state.pop("lock", None)
    if not st.toggle("hide", key=private_key("hide")):
        st.number_input("seldom", 0, 100, 0, key="seldom")

seen = {
    name: [type(st.session_state[f"v_{name}"]).__name__, repr(st.session_state[f"v_{name}"])]
    for name in VALUES
    if f"v_{name}" in st.session_state
}
seen["seldom"] = st.session_state.get("seldom")
seen["clicks"] = st.session_state["clicks"]
seen["status"] = room.status
with st.container(key="state"):
    st.text(json.dumps(seen))
