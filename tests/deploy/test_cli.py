"""The command `streamlit-crdt`: what it starts, and that every mistake is one sentence that says what to do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from e2e.harness import STREAMLIT_ENV, Process, answers, free_port
from streamlit_crdt.deploy import cli
from streamlit_crdt_server import KeyRing, Role, Settings, verify
from streamlit_crdt_server.storage.file_lock import FileLock

SCRIPT = "import streamlit as st\n\nst.title('hello')\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key file that a server without a secret makes, away from the one of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "streamlit-crdt" / "key"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def said_and_done(*words: str) -> str:
    """Run the command in a process of its own, expect a refusal, and return the one line that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "streamlit_crdt", *words],
        env={**os.environ, **STREAMLIT_ENV}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == cli.EXIT_USAGE, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "COMMAND"),
        (["nonsense"], "choose from"),
        (["demo", "--prot", "3"], "--prot"),
        (["demo", "--port", "99999"], "from 1 to 65535"),
        (["serve", "--port", "many"], "--port"),
        (["serve", "--port", "70000"], "1 to 65535"),
        (["serve", "--max-rooms", "0"], "max_rooms"),
        (["serve", "--allow-origin", "nowhere"], "https://"),
        (["serve", "--host", "0.0.0.0", "--port", "1"], "STREAMLIT_CRDT_SECRET"),
        (["token", "--user", "Ada"], "ROOM"),
        (["token", "plan"], "--user"),
        (["token", "a/b", "--user", "Ada"], "cannot be a room's name"),
        (["token", "plan", "--all-rooms", "--user", "Ada"], "--all-rooms"),
        (["token", "plan", "--user", "Ada", "--role", "owner"], "viewer"),
        (["token", "plan", "--user", "", "--secret-file", "/dev/null"], "holds no secret"),
        (["run", "no_such_file.py"], "give the path of a Streamlit script"),
        (["run", "https://example.com/app.py"], "download the script"),
        (["run", "app.py", "--server.prot", "1"], "--server.port"),
        (["run", "app.py", "--server.port", "many"], "not a valid integer"),
        (["run", "app.py", "--server.cookieSecret", "x"], "STREAMLIT_SERVER_COOKIE_SECRET"),
    ],
)
def test_a_mistake_is_answered_by_a_sentence_and_exit_code_2(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == cli.EXIT_USAGE
    said = capsys.readouterr().err.strip()
    assert said.startswith("streamlit-crdt: ")
    assert len(said.splitlines()) == 1
    assert expected in said


def test_run_refuses_what_is_not_a_python_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").touch()
    assert cli.main(["run", str(tmp_path / "notes.txt")]) == cli.EXIT_USAGE
    assert "ends in .py" in capsys.readouterr().err


def test_run_sends_a_script_that_makes_its_own_app_to_streamlit_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "asgi.py"
    path.write_text("import streamlit as st\n\napp = st.App('app.py')\n", encoding="utf-8")
    assert cli.main(["run", str(path)]) == cli.EXIT_USAGE
    assert "**crdt_app()" in capsys.readouterr().err


def test_a_taken_port_is_named_together_with_the_option_that_changes_it(
    script: Path, taken_port: int
) -> None:
    port = str(taken_port)
    assert f"port {port} " in said_and_done("run", str(script), "--server.port", port)
    assert said_and_done("demo", "--port", port).endswith("choose another port with --port.")
    assert said_and_done("serve", "--port", port).endswith("choose another port with --port.")


def test_every_setting_of_the_server_is_an_option_with_a_description(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = capsys.readouterr().out
    assert "--secret " not in shown  # everybody on the machine can read a program's arguments
    for field in fields(Settings):
        assert cli._descriptions()[field.name]
        if field.name == "secret":
            continue
        assert "--" + field.name.replace("_", "-") in shown


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("streamlit-crdt 0.")


def test_help_for_run_names_the_options_of_streamlit(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--help"]) == 0
    assert "--server.port" in capsys.readouterr().out


def test_a_token_opens_its_room_in_its_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "secret"
    file.write_text("a secret of this test\n", encoding="utf-8")
    ring = KeyRing.from_secret("a secret of this test")
    words = ["token", "plan", "--user", "Ada", "--secret-file", str(file), "--ttl-s", "60"]
    assert cli.main([*words, "--role", "editor"]) == 0
    claims = verify(ring, capsys.readouterr().out.strip(), now=time.time())
    assert (dict(claims.rooms), claims.user, claims.name) == ({"plan": Role.EDITOR}, "Ada", "Ada")
    assert claims.expires_at <= time.time() + 60
    assert cli.main(words) == 0
    assert verify(ring, capsys.readouterr().out.strip(), now=time.time()).role_in("plan") is Role.VIEWER


def test_a_token_for_all_rooms_is_asked_for_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_text("a secret of this test\n", encoding="utf-8")
    assert cli.main(["token", "--all-rooms", "--user", "backup", "--secret-file", str(file)]) == 0
    claims = verify(
        KeyRing.from_secret("a secret of this test"), capsys.readouterr().out.strip(), now=time.time()
    )
    assert claims.role_in("anything") is Role.VIEWER


def test_serve_answers_and_stops_cleanly_when_told(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "streamlit_crdt", "serve", "--port", str(port)]
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    server = Process("server", command, f"http://127.0.0.1:{port}/healthz", env, tmp_path)
    server.start()
    assert answers(f"http://127.0.0.1:{port}/readyz")
    assert server.stop(signal.SIGTERM) == 0
    assert "Traceback" not in server.log
    assert (tmp_path / "rooms.db").exists()


def test_serve_refuses_a_store_that_another_process_owns_by_name(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "streamlit_crdt", "serve", "--port", str(port), "--store", "shared.db"]
    server = Process("server", command, f"http://127.0.0.1:{port}/healthz", {}, tmp_path)
    server.start()
    try:
        path = str(tmp_path / "shared.db")
        said = said_and_done("serve", "--port", str(free_port()), "--store", path)
        assert path in said
        assert str(server.pid) in said
    finally:
        server.stop()


def test_run_refuses_a_store_that_another_process_owns_by_name(script: Path, tmp_path: Path) -> None:
    lease = FileLock(tmp_path / "rooms.db")
    try:
        said = said_and_done("run", str(script), "--server.port", str(free_port()))
    finally:
        lease.release()
    assert str(tmp_path / "rooms.db") in said
    assert str(os.getpid()) in said


def test_serve_on_other_addresses_than_this_machines_own_asks_for_a_secret(
    capsys: pytest.CaptureFixture[str], key_file: Path
) -> None:
    assert cli.main(["serve", "--host", "0.0.0.0", "--port", "0"]) == cli.EXIT_USAGE
    said = capsys.readouterr().err
    assert "STREAMLIT_CRDT_SECRET" in said
    assert "--secret-file" in said
    assert not key_file.exists()


def test_run_serves_the_script_and_the_rooms_on_one_port_with_the_settings_beside_the_script(
    script: Path, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(
        "[server]\nbaseUrlPath = 'below'\n", encoding="utf-8"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "streamlit_crdt", "run", str(script), "--server.port", str(port)]
    base = f"http://127.0.0.1:{port}/below"
    app = Process("app", command, f"{base}/_stcore/health", STREAMLIT_ENV, elsewhere)
    app.start()
    try:
        assert answers(f"{base}/crdt/healthz")
        with urllib.request.urlopen(base, timeout=5) as page:
            assert b"<title>Streamlit</title>" in page.read()
    finally:
        app.stop()
