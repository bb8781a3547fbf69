"""Generator of `vectors.json`, which the tests of the Python and the TypeScript replica share. See README.md.

python tests/vectors/make.py
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from math import isfinite
from pathlib import Path
from random import Random
from typing import Any

from pycrdt import Doc, Map

sys.path.insert(0, str(Path(__file__).parents[2]))

from streamlit_crdt.merge import RULES
from tests.support.fuzz import deliver_unreliably, make_peers
from tests.support.merge_sessions import run_merge_sessions

VECTORS = Path(__file__).parent / "vectors.json"
SEEDS = range(40)
PEERS = 5
EDITS = 50
RECEIVERS = 3
MERGED_SEEDS = range(20)
MERGED_EDITS = 60


def make_vectors() -> dict[str, Any]:
    """Return the content of the file. It is the same on every machine."""
    return {
        "format": 2,
        "vectors": [_make_vector(seed) for seed in SEEDS],
        "merged": [_make_merged(seed) for seed in MERGED_SEEDS],
    }


def _make_merged(seed: int) -> dict[str, Any]:
    random = Random(f"merged {seed}")
    updates: list[bytes] = []
    run_merge_sessions(PEERS, MERGED_EDITS, random, updates)
    vector = {
        "seed": seed,
        "updates": [b64encode(update).decode() for update in updates],
        "deliveries": [_delivery(len(updates), random) for _ in range(RECEIVERS)],
    }
    return {**vector, "roots": _apply_merged(vector, range(len(updates)))}


def _make_vector(seed: int) -> dict[str, Any]:
    random = Random(seed)
    peers = make_peers(PEERS, random)
    updates: list[bytes] = []
    for peer in peers:
        peer.replica.subscribe(lambda update, origin: updates.append(update) if origin == "local" else None)
    for _ in range(EDITS):
        random.choice(peers).edit(random)
        if random.random() < 0.3:
            sender, receiver = random.sample(range(PEERS), 2)
            waiting, peers[sender].outbox[receiver] = peers[sender].outbox[receiver], []
            for update in deliver_unreliably(waiting, random):
                peers[receiver].replica.apply(update)
    vector = {
        "seed": seed,
        "updates": [b64encode(update).decode() for update in updates],
        "deliveries": [_delivery(len(updates), random) for _ in range(RECEIVERS)],
    }
    return {**vector, "state": _apply(vector, range(len(updates)))}


def _delivery(count: int, random: Random) -> list[int]:
    order = [number for number in range(count) if random.random() < 0.75]
    order += [number for number in order if random.random() < 0.15]
    random.shuffle(order)
    return order


def plain(vector: dict[str, Any]) -> Any:
    """Return the final state of `vector`. Raises AssertionError if two deliveries lead to different states."""
    complete = range(len(vector["updates"]))
    read = _apply_merged if "roots" in vector else _apply
    states = [read(vector, [*delivery, *complete]) for delivery in [[], *vector["deliveries"]]]
    if any(state != states[0] for state in states):
        raise AssertionError(f"seed {vector['seed']}: deliveries lead to different states")
    return states[0]


def _apply(vector: dict[str, Any], order: Any) -> Any:
    document: Doc[Any] = Doc()
    state = document.get("state", type=Map)
    for number in order:
        document.apply_update(b64decode(vector["updates"][number]))
    return {key: _as_json(state[key]) for key in sorted(state.keys())}


def _apply_merged(vector: dict[str, Any], order: Any) -> Any:
    document: Doc[Any] = Doc()
    for number in order:
        document.apply_update(b64decode(vector["updates"][number]))
    roots = {f"{name}:k-{name}": rule for name, rule in RULES.items()}
    return {name: _as_json(document.get(name, type=rule.kind).to_py()) for name, rule in roots.items()}


def _as_json(stored: Any) -> Any:
    if isinstance(stored, bytes | bytearray):
        return {"$bytes": b64encode(stored).decode()}
    if isinstance(stored, float):
        if not isfinite(stored):
            return {"$number": "NaN" if stored != stored else "Infinity" if stored > 0 else "-Infinity"}
        return int(stored) if stored.is_integer() else stored
    if isinstance(stored, list):
        return [_as_json(item) for item in stored]
    if isinstance(stored, dict):
        return {key: _as_json(stored[key]) for key in sorted(stored)}
    return stored


if __name__ == "__main__":
    content = json.dumps(make_vectors(), indent=0, ensure_ascii=False, sort_keys=True)
    VECTORS.write_text(content + "\n", encoding="utf-8")
    print(f"{VECTORS} ({VECTORS.stat().st_size} bytes)")
