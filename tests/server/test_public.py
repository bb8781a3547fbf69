"""Public names, errors and imports of the package."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import streamlit_crdt_server
from streamlit_crdt_server import ServerError, errors


def test_all_lists_every_public_name() -> None:
    public = {
        name
        for name, value in vars(streamlit_crdt_server).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(streamlit_crdt_server.__all__)
    assert list(streamlit_crdt_server.__all__) == sorted(streamlit_crdt_server.__all__)


def test_every_error_is_a_public_server_error() -> None:
    leaves = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert leaves
    for leaf in leaves:
        assert issubclass(leaf, ServerError)
        assert leaf.__name__ in streamlit_crdt_server.__all__


def test_server_imports_neither_streamlit_nor_streamlit_crdt() -> None:
    code = (
        "import sys, streamlit_crdt_server;"
        "print([m for m in sys.modules if m.split('.')[0] in ('streamlit', 'streamlit_crdt')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_env()
    )
    assert answer.stdout.strip() == "[]"


def _env() -> dict[str, str]:
    import os
    from pathlib import Path

    return os.environ | {"PYTHONPATH": str(Path(streamlit_crdt_server.__file__).parents[1])}


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("Errand", "AdminScope"),
        ("ErrandForbiddenError", "AdminForbiddenError"),
        ("Socket", "WebSocketChannel"),
        ("mint_errand", "mint_admin_token"),
    ],
)
def test_former_name_works_and_warns(former: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=name):
        assert getattr(streamlit_crdt_server, former) is getattr(streamlit_crdt_server, name)
