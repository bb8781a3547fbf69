"""Rule S5: kill -9 loses no saved update, at any point of a commit or compaction."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streamlit_crdt_server import SQLiteStore

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of POSIX systems"),
]

WRITER = Path(__file__).parents[1] / "support" / "killed_writer.py"
LONGEST_DELAY_S = 0.0004
"""Seconds. About the time of a commit on a fast disk; with a longer delay most kills would come after the commit."""

IMPORTS = str(Path(__file__).parents[3] / "server")


@dataclass
class Tally:
    """Saved updates of all rounds, and the positions of the kills."""

    saved: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    lost: int = 0
    edits: int = 0
    inside_commit: int = 0
    inside_compaction: int = 0

    @property
    def inside(self) -> int:
        return self.inside_commit + self.inside_compaction

    def count(self, output: list[str]) -> None:
        """Add the output of one round."""
        self.rounds += 1
        inside, compacts = False, False
        for line in output:
            match line.split():
                case ["saved", room, number]:
                    self.saved[room] = int(number)
                    self.edits += 1
                case [">", verb]:
                    inside, compacts = True, compacts or verb == "DELETE"
                case ["<", verb]:
                    inside, compacts = False, compacts and verb != "COMMIT"
        self.inside_compaction += compacts
        self.inside_commit += inside and not compacts


@pytest.fixture
def forker() -> Iterator[subprocess.Popen[str]]:
    """The process that forks the writers."""
    environ = os.environ | {"PYTHONPATH": IMPORTS}
    with subprocess.Popen(
        [sys.executable, str(WRITER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run_and_kill(forker: subprocess.Popen[str], file: Path, randomness: random.Random) -> list[str]:
    """Run one writer until it is killed, and return its output."""
    assert forker.stdin is not None and forker.stdout is not None
    target = randomness.choice(("nothing", "COMMIT", "DELETE", "DELETE"))
    print(
        file,
        target,
        randomness.randrange(1, 40),
        randomness.uniform(0, LONGEST_DELAY_S),
        sep="\t",
        file=forker.stdin,
        flush=True,
    )
    kill_after = randomness.randrange(1, 150) if target == "nothing" else 0
    output: list[str] = []
    writer = 0
    for line in forker.stdout:
        match line.split():
            case ["forked", process]:
                writer = int(process)
            case ["ended", code]:
                assert int(code) == -signal.SIGKILL
                return output
            case _:
                output.append(line)
        if writer and kill_after and len(output) >= kill_after:
            os.kill(writer, signal.SIGKILL)
            kill_after = 0
    raise AssertionError("the process that forks the writers ended")


async def kill_repeatedly(forker: subprocess.Popen[str], file: Path, rounds: int, seed: int) -> Tally:
    randomness = random.Random(seed)
    tally = Tally()
    epochs: dict[str, bytes] = {}
    while tally.rounds < rounds or (tally.inside < rounds / 2 and tally.rounds < 3 * rounds):
        tally.count(run_and_kill(forker, file, randomness))
        async with SQLiteStore(file) as store:
            for room, last in tally.saved.items():
                stored = await store.load(room)
                loaded = b" ".join(stored.updates).split()
                tally.lost += max(0, last + 1 - len(loaded))
                assert loaded == [str(number).encode() for number in range(len(loaded))]
                assert stored.set_aside == 0
                epoch = stored.epoch.encode()
                assert epoch not in stored.past.split()
                assert epochs.get(room, epoch) in (epoch, *stored.past.split())
                epochs[room] = epoch
    print(
        f"kill -9, seed {seed}: {tally.rounds} rounds, {tally.edits} saved edits, {tally.lost} lost; "
        f"{tally.inside_commit} kills inside a commit, {tally.inside_compaction} inside a compaction"
    )
    return tally


@pytest.mark.parametrize("rounds", [25, pytest.param(200, marks=pytest.mark.soak)])
async def test_S5_kill_9_loses_no_saved_update(
    tmp_path: Path, forker: subprocess.Popen[str], rounds: int
) -> None:
    tally = await kill_repeatedly(forker, tmp_path / "rooms.db", rounds, seed=random.randrange(10**6))
    assert tally.lost == 0
    assert tally.edits > rounds
    assert tally.inside >= rounds / 2
