"""Paths of the unit tests for the sources that changed since a revision: `python tools/changed_tests.py [REVISION]`.

The tree of tests mirrors the tree of sources, so the test folder of a changed file has the name of its package. Without
a revision, the last commit and the working tree count as changed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PROJECT_TESTS = "tests/project/test_layers.py"
"""Checks every source file in seconds, so it runs for any change."""

SOURCE_TO_TESTS = {"streamlit_crdt": "tests", "server/streamlit_crdt_server": "tests/server"}


def changed_files(revision: str) -> list[str]:
    """Return the paths that differ from a revision, untracked files included."""
    changed = _git("diff", "--name-only", revision)
    return [*changed, *_git("ls-files", "--others", "--exclude-standard")]


def tests_of(path: str) -> set[str]:
    """Return the test paths for one changed file; empty for a file that no Python test covers."""
    parts = PurePosixPath(path)
    if path.startswith("tests/"):
        is_test = parts.name.startswith("test_") and parts.suffix == ".py"
        return {path} if is_test else _users_of(parts)
    for source, tests in SOURCE_TO_TESTS.items():
        if path.startswith(f"{source}/") and parts.suffix == ".py":
            entry = PurePosixPath(path).relative_to(source).parts[0].removesuffix(".py")
            module = f"{tests}/test_{entry}.py"
            return {module if (ROOT / module).exists() else f"{tests}/{entry}"}
    return {"tests/project"} if parts.suffix == ".md" else set()


def _users_of(helper: PurePosixPath) -> set[str]:
    """Return the test files that import a helper module of the tests; empty for other files."""
    module = ".".join(helper.with_suffix("").parts)
    tests = ROOT.joinpath("tests").rglob("test_*.py")
    return {str(test.relative_to(ROOT)) for test in tests if f"{module} " in test.read_text(encoding="utf-8")}


def select(paths: Iterable[str]) -> list[str]:
    """Return the existing test paths for changed files, without paths inside other selected folders."""
    found = {test for path in paths for test in tests_of(path) if (ROOT / test).exists()} | {PROJECT_TESTS}
    return sorted(test for test in found if not any(test.startswith(f"{other}/") for other in found))


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    print(*select(changed_files(sys.argv[1] if len(sys.argv) > 1 else "HEAD~1")))
