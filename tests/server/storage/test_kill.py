"""Rule S5: kill -9 loses nothing that was saved, wherever in a commit or a compaction it strikes."""

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

VICTIM = Path(__file__).parents[1] / "support" / "killed_writer.py"
LONGEST_DELAY_S = 0.0004
"""About what a commit takes on a fast disk: longer, and most kills would come after it."""

IMPORTS = str(Path(__file__).parents[3] / "server")


@dataclass
class Tally:
    """What was saved in all rounds, and where the kills struck."""

    saved: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    lost: int = 0
    edits: int = 0
    inside_commit: int = 0
    inside_compaction: int = 0

    @property
    def inside(self) -> int:
        return self.inside_commit + self.inside_compaction

    def count(self, said: list[str]) -> None:
        """Take in one round's words."""
        self.rounds += 1
        inside, compacts = False, False
        for line in said:
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
def victims() -> Iterator[subprocess.Popen[str]]:
    """The process that forks the victims."""
    environ = os.environ | {"PYTHONPATH": IMPORTS}
    with subprocess.Popen(
        [sys.executable, str(VICTIM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run_and_kill(victims: subprocess.Popen[str], file: Path, chance: random.Random) -> list[str]:
    """Run one victim to its end and return what it said."""
    assert victims.stdin is not None and victims.stdout is not None
    aim = chance.choice(("nothing", "COMMIT", "DELETE", "DELETE"))
    print(
        file,
        aim,
        chance.randrange(1, 40),
        chance.uniform(0, LONGEST_DELAY_S),
        sep="\t",
        file=victims.stdin,
        flush=True,
    )
    patience = chance.randrange(1, 150) if aim == "nothing" else 0
    said: list[str] = []
    victim = 0
    for line in victims.stdout:
        match line.split():
            case ["forked", process]:
                victim = int(process)
            case ["ended", code]:
                assert int(code) == -signal.SIGKILL
                return said
            case _:
                said.append(line)
        if victim and patience and len(said) >= patience:
            os.kill(victim, signal.SIGKILL)
            patience = 0
    raise AssertionError("the process that forks the victims ended")


async def kill_repeatedly(victims: subprocess.Popen[str], file: Path, rounds: int, seed: int) -> Tally:
    chance = random.Random(seed)
    tally = Tally()
    while tally.rounds < rounds or (tally.inside < rounds / 2 and tally.rounds < 3 * rounds):
        tally.count(run_and_kill(victims, file, chance))
        async with SQLiteStore(file) as store:
            for room, last in tally.saved.items():
                stored = await store.load(room)
                held = b" ".join(stored.updates).split()
                tally.lost += max(0, last + 1 - len(held))
                assert held == [str(number).encode() for number in range(len(held))]
                assert stored.set_aside == 0
    print(
        f"kill -9, seed {seed}: {tally.rounds} rounds, {tally.edits} saved edits, {tally.lost} lost; "
        f"{tally.inside_commit} kills inside a commit, {tally.inside_compaction} inside a compaction"
    )
    return tally


@pytest.mark.parametrize("rounds", [60, pytest.param(200, marks=pytest.mark.soak)])
async def test_S5_kill_9_loses_no_saved_edit(
    tmp_path: Path, victims: subprocess.Popen[str], rounds: int
) -> None:
    tally = await kill_repeatedly(victims, tmp_path / "rooms.db", rounds, seed=random.randrange(10**6))
    assert tally.lost == 0
    assert tally.edits > rounds
    assert tally.inside >= rounds / 2
