"""Streamlit as a program: command line, configuration, and detection of ASGI apps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def command_line() -> Any:
    """Return Streamlit's command line, which defines its options and their types: `main`, `main_run` (1.65+)."""
    from streamlit.web import cli

    return cli


def load_config(options: Mapping[str, Any]) -> None:
    """Reload Streamlit's settings. `options` override the files (`bootstrap.load_config_options`, 1.65+)."""
    from streamlit.web import bootstrap

    bootstrap.load_config_options(dict(options))


def makes_its_own_app(script: Path) -> bool:
    """Return whether `streamlit run` treats the script as an ASGI app (`discover_asgi_app`, 1.65+)."""
    from streamlit.web.server.app_discovery import discover_asgi_app

    return discover_asgi_app(script).is_asgi_app
