"""A Python with each library in it: made once, by pip and by name, into folders of its own.

streamlit-sync reaches into modules of Streamlit that have moved since. It needs a Streamlit of its time, and that one
other packages of its time. streamlit-server-state runs on the Streamlit that streamlit-crdt is tested with.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

APPS = Path(__file__).parent / "apps"

NEWEST_FOR_STREAMLIT_SYNC = "1.8.1"
"""1.9.0 gave `get_session_state` another name: from there on `import streamlit_sync` raises ImportError."""

OF_ITS_TIME = (
    f"streamlit=={NEWEST_FOR_STREAMLIT_SYNC}",
    "altair<5",  # altair.vegalite.v4
    "click<8.1",  # click.get_os_args
    "tornado<6.2",
    "protobuf<3.21",
    "pandas<2",
    "pyarrow<16",  # with NumPy 1
    "numpy<2",
)


@dataclass(frozen=True, slots=True)
class Library:
    """What an app with this library is started with."""

    name: str
    script: Path
    python: Path
    streamlit: str
    env: Mapping[str, str] = field(default_factory=dict)
    keeps_people: bool = True
    shares_widgets: bool = True


def prepare(folder: Path) -> list[Library]:
    """Return the three libraries; what is not there yet is installed below `folder`."""
    ours = _version_of(Path(sys.executable), "streamlit")
    return [
        Library("streamlit-crdt", APPS / "with_streamlit_crdt.py", Path(sys.executable), ours),
        Library(
            "streamlit-sync",
            APPS / "with_streamlit_sync.py",
            _environment(folder / "streamlit-sync", ["streamlit-sync==0.1.0", *OF_ITS_TIME]),
            NEWEST_FOR_STREAMLIT_SYNC,
        ),
        Library(
            "streamlit-server-state",
            APPS / "with_server_state.py",
            Path(sys.executable),
            ours,
            {"PYTHONPATH": str(_beside(folder / "streamlit-server-state", "streamlit-server-state==0.20.2"))},
            keeps_people=False,
            shares_widgets=False,
        ),
    ]


def error_today(libraries: list[Library]) -> str:
    """Return what importing streamlit-sync says with today's Streamlit; "" if it works."""
    site = next(libraries[1].python.parent.parent.glob("lib/python*/site-packages"))
    code = (
        "import sys, streamlit, importlib.util as u\n"
        f"spec = u.spec_from_file_location('streamlit_sync', {str(site / 'streamlit_sync' / '__init__.py')!r})\n"
        "module = u.module_from_spec(spec); sys.modules['streamlit_sync'] = module\n"
        "spec.loader.exec_module(module)\n"
    )
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else ""


def _environment(folder: Path, requirements: list[str]) -> Path:
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (folder / ".installed").touch()
    return python


def _beside(folder: Path, requirement: str) -> Path:
    """Install one package, without what it needs, where only those see it who have the folder on their path."""
    if not (folder / ".installed").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, requirement], check=True)
        (folder / ".installed").touch()
    return folder


def _version_of(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
