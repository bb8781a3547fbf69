"""The command `streamlit-crdt`."""

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
    """Path of the key file that a server without a secret creates, apart from that of the user who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "streamlit-crdt" / "key"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def error_line(*words: str) -> str:
    """Run the command in a new process, expect exit code 2, and return the line that it printed."""
    result = subprocess.run(
        [sys.executable, "-m", "streamlit_crdt", *words],
        env={**os.environ, **STREAMLIT_ENV}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == cli.EXIT_USAGE, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
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
        (["token", "a/../b", "--user", "Ada"], "cannot be a room's name"),
        (["token", "plan", "--all-rooms", "--user", "Ada"], "--all-rooms"),
        (["token", "plan", "--user", "Ada", "--role", "owner"], "viewer"),
        (["token", "plan", "--user", "", "--secret-file", "/dev/null"], "contains no secret"),
        (["run", "no_such_file.py"], "give the path of a Streamlit script"),
        (["run", "https://example.com/app.py"], "download the script"),
        (["run", "app.py", "--server.prot", "1"], "--server.port"),
        (["run", "app.py", "--server.port", "many"], "not a valid integer"),
        (["run", "app.py", "--server.cookieSecret", "x"], "STREAMLIT_SERVER_COOKIE_SECRET"),
    ],
)
def test_wrong_argument_prints_one_line_and_exits_with_2(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == cli.EXIT_USAGE
    message = capsys.readouterr().err.strip()
    assert message.startswith("streamlit-crdt: ")
    assert len(message.splitlines()) == 1
    assert expected in message


def test_run_rejects_a_file_that_is_not_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").touch()
    assert cli.main(["run", str(tmp_path / "notes.txt")]) == cli.EXIT_USAGE
    assert "ends in .py" in capsys.readouterr().err


def test_run_rejects_a_script_with_its_own_app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "asgi.py"
    path.write_text("import streamlit as st\n\napp = st.App('app.py')\n", encoding="utf-8")
    assert cli.main(["run", str(path)]) == cli.EXIT_USAGE
    assert "**crdt_app()" in capsys.readouterr().err


def test_error_for_a_port_in_use_names_port_and_option(script: Path, taken_port: int) -> None:
    port = str(taken_port)
    assert f"port {port} " in error_line("run", str(script), "--server.port", port)
    assert error_line("demo", "--port", port).endswith("choose another port with --port.")
    assert error_line("serve", "--port", port).endswith("choose another port with --port.")


def test_every_server_setting_is_a_described_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    help_text = capsys.readouterr().out
    assert "--secret " not in help_text  # other users of the machine can read a program's arguments
    for field in fields(Settings):
        assert cli._descriptions()[field.name]
        if field.name == "secret":
            continue
        assert "--" + field.name.replace("_", "-") in help_text


def test_version_option_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.startswith("streamlit-crdt 0.")


def test_help_of_run_mentions_streamlit_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--help"]) == 0
    assert "--server.port" in capsys.readouterr().out


def test_token_has_the_given_room_and_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_all_rooms_option_signs_a_token_for_any_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_text("a secret of this test\n", encoding="utf-8")
    assert cli.main(["token", "--all-rooms", "--user", "backup", "--secret-file", str(file)]) == 0
    claims = verify(
        KeyRing.from_secret("a secret of this test"), capsys.readouterr().out.strip(), now=time.time()
    )
    assert claims.role_in("anything") is Role.VIEWER


def test_serve_answers_and_stops_cleanly_on_SIGTERM(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "streamlit_crdt", "serve", "--port", str(port)]
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    server = Process("server", command, f"http://127.0.0.1:{port}/healthz", env, tmp_path)
    server.start()
    assert answers(f"http://127.0.0.1:{port}/readyz")
    assert server.stop(signal.SIGTERM) == 0
    assert "Traceback" not in server.log
    assert (tmp_path / "rooms.db").exists()


def test_serve_rejects_a_store_owned_by_another_process(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "streamlit_crdt", "serve", "--port", str(port), "--store", "shared.db"]
    server = Process("server", command, f"http://127.0.0.1:{port}/healthz", {}, tmp_path)
    server.start()
    try:
        path = str(tmp_path / "shared.db")
        message = error_line("serve", "--port", str(free_port()), "--store", path)
        assert path in message
        assert str(server.pid) in message
    finally:
        server.stop()


def test_run_rejects_a_store_owned_by_another_process(script: Path, tmp_path: Path) -> None:
    file_lock = FileLock(tmp_path / "rooms.db")
    try:
        message = error_line("run", str(script), "--server.port", str(free_port()))
    finally:
        file_lock.release()
    assert str(tmp_path / "rooms.db") in message
    assert str(os.getpid()) in message


def test_serve_on_a_public_address_requires_a_secret(
    capsys: pytest.CaptureFixture[str], key_file: Path
) -> None:
    assert cli.main(["serve", "--host", "0.0.0.0", "--port", "0"]) == cli.EXIT_USAGE
    message = capsys.readouterr().err
    assert "STREAMLIT_CRDT_SECRET" in message
    assert "--secret-file" in message
    assert not key_file.exists()


def test_run_serves_script_and_rooms_with_the_scripts_config(script: Path, tmp_path: Path) -> None:
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
