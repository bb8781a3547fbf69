"""Sources of settings, and errors of invalid settings."""

from __future__ import annotations

from typing import Any

import pytest

from streamlit_crdt_server import ServerError, Settings, SettingsError


def test_arguments_override_variables_and_these_override_defaults() -> None:
    environ = {"STREAMLIT_CRDT_PORT": "9000", "STREAMLIT_CRDT_HOST": "0.0.0.0"}
    settings = Settings.load(environ=environ, port=9001)
    assert (settings.port, settings.host, settings.freeze_gc) == (9001, "0.0.0.0", True)


def test_variables_of_every_type_are_parsed() -> None:
    settings = Settings.load(
        environ={
            "STREAMLIT_CRDT_FREEZE_GC": "no",
            "STREAMLIT_CRDT_ALLOW_ORIGIN": "https://a.example, https://b.example",
            "STREAMLIT_CRDT_STORE": "",
            "STREAMLIT_CRDT_SILENT_PEER_TIMEOUT_S": "2.5",
            "PATH": "/bin",
        }
    )
    assert settings == Settings(
        freeze_gc=False, allow_origin=("https://a.example", "https://b.example"), silent_peer_timeout_s=2.5
    )


def test_list_of_origins_becomes_a_tuple() -> None:
    assert Settings.load(environ={}, allow_origin=["https://a.example"]).allow_origin == (
        "https://a.example",
    )


def test_variables_of_the_streamlit_app_are_ignored() -> None:
    assert Settings.load(environ={"STREAMLIT_CRDT_SERVER": "ws://x"}) == Settings()


@pytest.mark.parametrize(
    ("environ", "overrides", "text"),
    [
        ({"STREAMLIT_CRDT_PROT": "1"}, {}, "did you mean 'port'"),
        ({"STREAMLIT_CRDT_port": "1"}, {}, "STREAMLIT_CRDT_port"),
        ({"STREAMLIT_CRDT_PORT": "http"}, {}, "STREAMLIT_CRDT_PORT='http' cannot be parsed"),
        ({"STREAMLIT_CRDT_FREEZE_GC": "perhaps"}, {}, "use true or false"),
        ({}, {"max_room": 1}, "did you mean 'max_rooms'"),
        ({}, {"colour": 1}, "the settings are host, port"),
        ({}, {"port": 70000}, "use 1 to 65535"),
        ({}, {"host": ""}, "set it to an address"),
        ({}, {"max_frame_bytes": 0}, "max_frame_bytes=0 must be greater than 0"),
        ({}, {"silent_peer_timeout_s": float("nan")}, "must be greater than 0"),
        ({}, {"allow_origin": ("app.example.com",)}, "https://app.example.com"),
        ({}, {"store": "redis://cache"}, "use a path such as rooms.db"),
        ({}, {"store": "sqlite:///"}, "use a path such as rooms.db"),
    ],
)
def test_invalid_setting_error_says_what_to_change(
    environ: dict[str, str], overrides: dict[str, Any], text: str
) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        Settings.load(environ=environ, **overrides)
    assert isinstance(caught.value, ServerError)
    assert isinstance(caught.value, ValueError)
