"""Damaged store files: each is opened right, or rejected by name. None opens with fewer rows.

A store is written in three stages. The files of the second stage are the older copies, those of the third are what
kill -9 leaves, or what an orderly end leaves. One or two of its files are then cut, changed, overwritten with zeros,
removed, exchanged, or replaced by an older copy or by the file of another store. A room must then have exactly its
saved updates, or the damage must be reported: by an error, or by updates that were set aside.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from streamlit_crdt_server import SQLiteStore, StoreError
from tests.faults.result import Budget, Result

FULL = 500
PAGE_BYTES = 4096
STORE = "rooms.db"
SUFFIXES = ("", "-wal", "-shm", "-mark", "-mark-copy", "-lease")
TWO_DAMAGES = 0.4
"""Share of the rounds that damage two files."""

Rooms = Mapping[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Image:
    """Files of a store that no process uses, their older copies, and the saved rooms."""

    name: str
    files: Path
    older: Path
    other: Path
    rooms: Rooms


@dataclass(frozen=True, slots=True)
class Place:
    """One file to damage, and the files that may replace it."""

    image: Image
    folder: Path
    suffix: str

    @property
    def path(self) -> Path:
        return self.folder / f"{STORE}{self.suffix}"

    def replace(self, source: Path) -> None:
        """Replace the file by `source`, or remove it if there is no such file."""
        if source.exists():
            shutil.copy(source, self.path)
        else:
            self.path.unlink(missing_ok=True)


Damage = Callable[[Place, random.Random], str]


def cut(place: Place, randomness: random.Random) -> str:
    size = place.path.stat().st_size
    length = randomness.randrange(max(size, 1))
    if randomness.random() < 0.3:  # a file system loses whole blocks
        length -= length % PAGE_BYTES
    place.path.write_bytes(place.path.read_bytes()[:length])
    return f"cut to {length} of {size} bytes"


def flip(place: Place, randomness: random.Random) -> str:
    content = bytearray(place.path.read_bytes())
    positions = [randomness.randrange(max(len(content), 1)) for _ in range(randomness.choice((1, 1, 4)))]
    for position in positions if content else ():
        content[position] ^= 1 << randomness.randrange(8)
    place.path.write_bytes(content)
    return f"bits flipped at {positions}"


def zero_page(place: Place, randomness: random.Random) -> str:
    content = bytearray(place.path.read_bytes())
    start = randomness.randrange(-(-len(content) // PAGE_BYTES) or 1) * PAGE_BYTES
    end = min(start + PAGE_BYTES, len(content))
    content[start:end] = bytes(end - start)
    place.path.write_bytes(content)
    return f"bytes {start} to {end} zeroed"


def remove(place: Place, randomness: random.Random) -> str:
    place.path.unlink()
    return "removed"


def use_older(place: Place, randomness: random.Random) -> str:
    place.replace(place.image.older / place.path.name)
    return "replaced by its older copy"


def use_other_store(place: Place, randomness: random.Random) -> str:
    place.replace(place.image.other / place.path.name)
    return "replaced by the file of another store"


def exchange(place: Place, randomness: random.Random) -> str:
    suffix = randomness.choice([suffix for suffix in SUFFIXES if suffix != place.suffix])
    other = place.folder / f"{STORE}{suffix}"
    content = place.path.read_bytes()
    place.replace(other)
    other.write_bytes(content)
    return f"exchanged with {other.name}"


DAMAGES: tuple[Damage, ...] = (cut, flip, zero_page, remove, use_older, use_other_store, exchange)


async def write_rooms(store: SQLiteStore, randomness: random.Random, rooms: Sequence[str]) -> None:
    for number in range(40):
        room = randomness.choice(rooms)
        await store.append(room, randomness.randbytes(randomness.choice((20, 200, 200, 6000))))
        if number % 15 == 14:
            await store.compact(room, randomness.randbytes(randomness.choice((300, 9000))))


IMAGES = ("killed store", "store killed after a checkpoint", "closed store")


async def make_image(folder: Path, randomness: random.Random, name: str) -> Image:
    """Write two stores. Copy the files of the first at two times, and those of the second once."""
    image = Image(name, folder / "files", folder / "older", folder / "other", {})
    for part in (image.files, image.older, image.other):
        part.mkdir(parents=True)
    live = folder / STORE
    rooms = [f"room{number}" for number in range(6)]
    async with SQLiteStore(live) as store:
        await write_rooms(store, randomness, rooms[:5])
    async with SQLiteStore(live) as store:
        await write_rooms(store, randomness, rooms[:5])
        copy_files(live, image.older)
        if name == "store killed after a checkpoint":
            with closing(sqlite3.connect(live)) as other:
                other.execute("PRAGMA wal_checkpoint(RESTART)")
        await write_rooms(store, randomness, rooms)
        expected = {room: (await store.load(room)).updates for room in await store.rooms()}
        copy_files(live, image.files)
    if name == "closed store":
        for path in image.files.iterdir():
            path.unlink()
        copy_files(live, image.files)
    other_store = folder / "other.db"
    async with SQLiteStore(other_store) as store:
        for _ in range(randomness.choice((1, 8))):
            await write_rooms(store, randomness, rooms[2:])
        copy_files(other_store, image.other)
    return Image(name, image.files, image.older, image.other, expected)


def copy_files(store: Path, target: Path) -> None:
    for suffix in SUFFIXES:
        if (source := Path(f"{store}{suffix}")).exists():
            shutil.copy(source, target / f"{STORE}{suffix}")


def damage(image: Image, folder: Path, randomness: random.Random) -> tuple[str, bool]:
    """Damage one or two files. Return a description, and whether it changed anything."""
    suffixes = [suffix for suffix in SUFFIXES if (folder / f"{STORE}{suffix}").exists()]
    chosen = randomness.sample(suffixes, 2 if randomness.random() < TWO_DAMAGES else 1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    steps = []
    for suffix in chosen:
        place = Place(image, folder, suffix)
        if place.path.exists():
            steps.append(f"{place.path.name} {randomness.choice(DAMAGES)(place, randomness)}")
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    return f"{image.name}: {', '.join(steps)}", before != after


async def outcome_of(folder: Path, expected: Rooms) -> str:
    """Open the store and return the outcome: intact, reported, room rejected, rejected, or silent."""
    outcomes = {"intact"}
    try:
        async with SQLiteStore(folder / STORE) as store:
            for room in expected.keys() | set(await store.rooms()):
                outcomes.add(await outcome_of_room(store, room, expected))
    except StoreError:
        return "rejected"
    return next(outcome for outcome in SEVERITY if outcome in outcomes)


SEVERITY = ("silent", "room rejected", "reported", "intact")


async def outcome_of_room(store: SQLiteStore, room: str, expected: Rooms) -> str:
    try:
        stored = await store.load(room)
    except StoreError:
        return "room rejected"
    saved = expected.get(room, ())
    if stored.updates == saved:
        return "intact"
    remaining = tuple(update for update in saved if update in stored.updates)
    is_partial = stored.updates == remaining and stored.set_aside == len(saved) - len(remaining)
    return "reported" if is_partial else "silent"


async def run_rounds(folder: Path, seed: int, budget: Budget, rounds: int) -> Result:
    randomness = random.Random(seed)
    images = [await make_image(folder / name, randomness, name) for name in IMAGES]
    counts: Counter[str] = Counter()
    failures: list[str] = []
    while counts.total() < rounds and not budget.is_spent:
        image = randomness.choices(images, (2, 2, 1))[0]
        here = folder / "damaged"
        shutil.copytree(image.files, here)
        description, is_changed = damage(image, here, randomness)
        if is_changed:
            outcome = await outcome_of(here, image.rooms)
            counts[outcome] += 1
            if outcome == "silent":
                failures.append(f"round {counts.total()}: {description}")
        shutil.rmtree(here)
    return Result(
        campaign="damaged_files",
        seed=seed,
        budget_s=budget.seconds,
        took_s=budget.spent_s,
        tried=counts.total(),
        full=FULL,
        lost=counts["silent"],
        failures=tuple(failures),
        counts={name: counts[name] for name in ("intact", "reported", "room rejected", "rejected")},
    )


def run(seed: int, budget_s: float, rounds: int = FULL) -> Result:
    """Damage files until the budget is spent or `rounds` are done."""
    logging.disable(logging.ERROR)  # each damage is logged
    try:
        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(run_rounds(Path(folder), seed, Budget(budget_s), rounds))
    finally:
        logging.disable(logging.NOTSET)
