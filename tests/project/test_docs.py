"""Documentation pages: Python blocks run, named commands and files exist, links work.

Each block runs in its own room. Only the room name in its source is replaced.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from e2e.harness import HOST, STREAMLIT_ENV, Process, answers, free_port
from streamlit_crdt.deploy.cli import main
from streamlit_crdt_server import EmbeddedServer, KeyRing, Settings
from tests.support.markdown import (
    PAGES,
    ROOT,
    Block,
    anchors,
    blocks,
    commands,
    links,
    source_paths,
    variables,
)

NOT_RUN = 0
"""Number of Python blocks marked as not to be run. Change it on purpose only."""

SECRET = "a secret that only this test knows"
RUN_DEADLINE_S = 30

PYTHON = [block for page in PAGES for block in blocks(page) if block.language in ("python", "py")]
TO_RUN = [block for block in PYTHON if not block.not_run]


def _is_asgi(block: Block) -> bool:
    return "st.App(" in block.source


def _is_test(block: Block) -> bool:
    return bool(re.search(r"^(async )?def test_", block.source, re.MULTILINE))


def _is_job(block: Block) -> bool:
    return "import streamlit as st" not in block.source and "connect(" in block.source


ASGI = [block for block in TO_RUN if _is_asgi(block)]
TESTS = [block for block in TO_RUN if _is_test(block) and not _is_asgi(block)]
JOBS = [block for block in TO_RUN if _is_job(block) and not _is_test(block) and not _is_asgi(block)]
SCRIPTS = [block for block in TO_RUN if block not in [*ASGI, *TESTS, *JOBS]]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


_rooms = itertools.count()


def with_own_room(source: str) -> str:
    return re.sub(r'\bcrdt_sync\("[^"]*"', f'crdt_sync("documented-{next(_rooms)}"', source)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the README's app, under the file names that the documentation uses."""
    script = next(block for block in SCRIPTS if block.page.name == "README.md").source
    for name in ("app.py", "dashboard.py"):
        (tmp_path / name).write_text(script, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), str(ROOT), str(ROOT / "server")])


# --- Python -------------------------------------------------------------------------------------------------


def test_code_blocks_of_all_kinds_are_found() -> None:
    assert {block.page.name for block in SCRIPTS} >= {"README.md", "merging.md", "values.md"}
    assert ASGI and JOBS


def test_skipped_code_blocks_give_a_reason_and_are_counted() -> None:
    marked = [f"{block}: {block.not_run}" for block in PYTHON if block.not_run]
    assert len(marked) == NOT_RUN, marked


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_documented_script_runs_and_draws_elements(block: Block, folder: Path) -> None:
    app = AppTest.from_string(with_own_room(block.source), default_timeout=RUN_DEADLINE_S).run()
    for run in (app, app.run()):  # what it assigned is there the second time
        assert not run.exception, f"{block}: {[error.message for error in run.exception]}"
        assert len(run.main) + len(run.sidebar), f"{block} draws nothing"


@pytest.mark.parametrize("block", ASGI, ids=str)
def test_documented_asgi_app_starts_and_serves(block: Block, folder: Path) -> None:
    (folder / "documented_app.py").write_text(block.source, encoding="utf-8")
    port = free_port()
    environment = STREAMLIT_ENV | {"PYTHONPATH": python_path(folder), "STREAMLIT_CRDT_STORE": "memory"}
    command = [sys.executable, "-m", "hypercorn", "documented_app:app", "--bind", f"{HOST}:{port}"]
    process = Process("app", command, f"http://{HOST}:{port}/_stcore/health", environment, folder)
    process.start()
    try:
        assert answers(f"http://{HOST}:{port}/crdt/healthz"), process.log
    finally:
        process.stop()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_documented_tests_pass(page: Path, folder: Path) -> None:
    tests = [block for block in TESTS if block.page == page]
    for block in blocks(page):
        if block in tests:
            (folder / f"test_line_{block.line}.py").write_text(block.source, encoding="utf-8")
        elif block.file_name:
            (folder / block.file_name).write_text(block.source, encoding="utf-8")
    if tests:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
        environment = os.environ | {"PYTHONPATH": python_path(folder), "STREAMLIT_CRDT_STORE": "memory"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def job_server() -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(Settings(port=0), keys=KeyRing.from_secret(SECRET))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("block", JOBS, ids=str)
def test_documented_job_joins_its_room(
    block: Block, folder: Path, job_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", SECRET)
    monkeypatch.setenv("STREAMLIT_CRDT_PORT", str(job_server.port))
    exec(compile(block.source, str(block), "exec"), {"__name__": "__main__"})


# --- commands -----------------------------------------------------------------------------------------------


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the help of a command; "" if there is no such command."""
    try:
        code = main([*words, "--help"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    shown = capsys.readouterr().out
    return shown if code == 0 else ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_documented_commands_and_options_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overall = help_of(capsys=capsys)
    for line in commands(page, "streamlit-crdt"):
        words = [word for word in line[1:] if not word.startswith("-")]
        options = [word.split("=")[0] for word in line[1:] if word.startswith("--")]
        shown = overall
        if words and not words[0].startswith(("…", "<")):
            shown = help_of(words[0], capsys=capsys)
            assert re.search(rf"^ +{words[0]}\b", overall, re.MULTILINE) and shown, f"there is no {line}"
            if re.search(r"\{[\w,]+\}", shown) and len(words) > 1 and words[1].islower():
                shown = help_of(words[0], words[1], capsys=capsys)
        if words[:1] != ["run"]:  # those are Streamlit's
            missing = [option for option in options if not re.search(rf"{option}\b", shown)]
            assert not missing, f"{' '.join(line)}: there is no {missing}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_documented_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    named = {word for line in commands(page, "make") for word in line[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert named <= known, named - known


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_documented_environment_variables_are_read(page: Path) -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for part in ("streamlit_crdt", "server")
        for path in (ROOT / part).rglob("*.py")
    )
    settings = {f"STREAMLIT_CRDT_{name.upper()}" for name in Settings.__dataclass_fields__}
    unknown = [name for name in variables(page) if name not in settings and f'"{name}"' not in sources]
    assert not unknown


SOURCE_ROOTS = [
    ROOT / root for root in (".", "streamlit_crdt", "server/streamlit_crdt_server", "frontend/src")
]
MAX_LINE = 120


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_source_paths_in_page_exist(page: Path) -> None:
    for path in source_paths(page):
        assert any((root / path).exists() for root in (page.parent, *SOURCE_ROOTS)), f"there is no {path}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_lines_have_at_most_120_characters(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > MAX_LINE]
    assert not long, f"lines {long}"


# --- links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_anchors_exist(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading in {target.name}"


def test_every_page_is_linked_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [
            (page.parent / link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"
        ]
    assert {page for page in PAGES if page.parent.name == "docs"} <= reached


def test_migrated_streamlit_sync_example_is_the_tested_app() -> None:
    page = ROOT / "docs" / "coming-from-streamlit-sync.md"
    (change,) = (block.source for block in blocks(page) if block.language == "diff")
    lines = [line.strip() for line in change.splitlines()]
    after = [line.removeprefix("+").strip() for line in lines if line and not line.startswith("-")]
    app = (ROOT / "e2e" / "apps" / "readme_of_streamlit_sync.py").read_text(encoding="utf-8")
    assert after == [line.strip() for line in app.splitlines()[1:] if line.strip()]
