"""Builds the frontend when a wheel, a source archive or an editable install needs it.

Why a hook and not a step to remember: `pip install .` from a checkout must give a working package, and one built from
an archive that already holds the assets must need no Node. The frontend is built only if its assets are missing or were
made of other sources; static/build.json tells, because the build id in it is a hash of those sources.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_MISSING = (
    "streamlit-crdt's frontend has to be built and {tool} was not found: install Node.js 20 or newer, "
    "or install the wheel, which holds the built frontend."
)


class FrontendBuildHook(BuildHookInterface[Any]):
    """Make sure that streamlit_crdt/static holds the bundle of these very sources."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if is_source_archive(root) or is_built(root):
            return
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            self.app.abort(NODE_MISSING.format(tool="npm" if npm is None else "node"))
        for command in commands_to_run(root):
            self.app.display_info(f"streamlit-crdt: npm {' '.join(command)}")
            finished = subprocess.run([str(npm), *command], cwd=root, stdin=subprocess.DEVNULL, check=False)
            if finished.returncode != 0:
                self.app.abort(
                    f"Building the frontend failed: 'npm {' '.join(command)}' ended with {finished.returncode}."
                )


def is_source_archive(root: Path) -> bool:
    """Say whether this is an unpacked source archive: it has PKG-INFO and came with the assets."""
    return (root / "PKG-INFO").is_file() and assets(root) is not None


def is_built(root: Path) -> bool:
    """Say whether the assets were made of the sources as they are now."""
    found = assets(root)
    return found is not None and found.get("build") == build_id(root)


def assets(root: Path) -> dict[str, Any] | None:
    """Return what static/build.json says, or None unless it lies beside exactly one bundle."""
    static = root / "streamlit_crdt" / "static"
    try:
        said = json.loads((static / "build.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and len(list(static.glob("streamlit-crdt-*.js"))) == 1 else None


def build_id(root: Path) -> str:
    """Compute what frontend/build-id.ts computes; tests/project/test_packaging.py holds the two together."""
    version = json.loads((root / "package.json").read_text(encoding="utf-8"))["version"]
    sources = [path for path in (root / "frontend" / "src").rglob("*.ts") if not is_test(path)]
    digest = hashlib.sha256()
    for path in [*sorted(sources, key=str), root / "package-lock.json"]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version}+{digest.hexdigest()[:12]}"


def is_test(path: Path) -> bool:
    return path.name == "testing.ts" or path.name.endswith(".test.ts")


def commands_to_run(root: Path) -> list[list[str]]:
    """Name npm's commands: packages are installed only if the lock file is newer than what is installed."""
    installed, lock = root / "node_modules" / ".package-lock.json", root / "package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return [["run", "build"]]
    return [["ci", "--no-audit", "--no-fund"], ["run", "build"]]
