"""Python environments with each library, installed once by pip into separate folders.

streamlit-sync imports internal modules of Streamlit that have moved since. It needs an old Streamlit, which needs old
versions of other packages. streamlit-server-state runs with the Streamlit that streamlit-crdt is tested with.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

APPS = Path(__file__).parent / "apps"

NEWEST_FOR_STREAMLIT_SYNC = "1.8.1"
"""Streamlit 1.9.0 renamed `get_session_state`: since then, `import streamlit_sync` raises ImportError."""

OLD_REQUIREMENTS = (
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
    """A library, and the command of an app with it.

    Attributes:
        counts_people: the library reports the number of participants.
        shares_widgets: the library shares widgets, not only values.
    """

    name: str
    script: Path
    python: Path
    streamlit: str
    env: Mapping[str, str] = field(default_factory=dict)
    counts_people: bool = True
    shares_widgets: bool = True


def prepare(folder: Path) -> list[Library]:
    """Return the three libraries. Missing ones are installed below `folder`."""
    ours = _version_of(Path(sys.executable), "streamlit")
    return [
        Library("streamlit-crdt", APPS / "with_streamlit_crdt.py", Path(sys.executable), ours),
        Library(
            "streamlit-sync",
            APPS / "with_streamlit_sync.py",
            _environment(folder / "streamlit-sync", ["streamlit-sync==0.1.0", *OLD_REQUIREMENTS]),
            NEWEST_FOR_STREAMLIT_SYNC,
        ),
        Library(
            "streamlit-server-state",
            APPS / "with_server_state.py",
            Path(sys.executable),
            ours,
            {
                "PYTHONPATH": str(
                    _install_apart(folder / "streamlit-server-state", "streamlit-server-state==0.20.2")
                )
            },
            counts_people=False,
            shares_widgets=False,
        ),
    ]


def import_error_today(libraries: list[Library]) -> str:
    """Return the error of importing streamlit-sync with the installed Streamlit, "" if it works."""
    site = next(libraries[1].python.parent.parent.glob("lib/python*/site-packages"))
    code = (
        "import sys, streamlit, importlib.util as u\n"
        f"spec = u.spec_from_file_location('streamlit_sync', {str(site / 'streamlit_sync' / '__init__.py')!r})\n"
        "module = u.module_from_spec(spec); sys.modules['streamlit_sync'] = module\n"
        "spec.loader.exec_module(module)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    return result.stderr.strip().splitlines()[-1] if result.returncode else ""


def _environment(folder: Path, requirements: list[str]) -> Path:
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (folder / ".installed").touch()
    return python


def _install_apart(folder: Path, requirement: str) -> Path:
    """Install one package without its dependencies into a folder for PYTHONPATH."""
    if not (folder / ".installed").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, requirement], check=True)
        (folder / ".installed").touch()
    return folder


def _version_of(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
