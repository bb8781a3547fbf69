"""Concurrent text edits in Yjs, by UTF-16 units, and in Python, by code points."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from random import Random
from typing import Any

import pytest

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES
from tests.support.unicode_texts import random_text, with_word

EDITOR = Path(__file__).parents[1] / "support" / "edit_in_yjs.mjs"
ROUNDS = 6


def edit_in_yjs(update: bytes, edits: list[tuple[int, int, str]]) -> tuple[bytes, str]:
    """Apply `edits` in Yjs. Return the update of the edits and the resulting text."""
    request = json.dumps({"update": b64encode(update).decode(), "edits": edits})
    done = subprocess.run(["node", str(EDITOR)], input=request, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return b64decode(answer["update"]), answer["text"]


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize("seed", range(4))
def test_concurrent_text_edits_in_python_and_yjs_converge(seed: int) -> None:
    random = Random(seed)
    replica = Replica()
    replica.edit("k", None, "Grüße 👍 von 👩‍👩‍👧‍👦", RULES["text"])
    for number in range(ROUNDS):
        seen: str = replica.get("k")
        at = random.randrange(len(seen) + 1)
        end = min(len(seen), at + random.randrange(3))
        theirs, mine = f"<{number}👍>", f"[{number}é]"
        edit = (utf16_length(seen[:at]), utf16_length(seen[at:end]), theirs)
        update, text = edit_in_yjs(replica.diff(), [edit])
        assert text == seen[:at] + theirs + seen[end:]
        replica.edit("k", seen, with_word(seen, mine + random_text(random, 2), random), RULES["text"])
        replica.apply(update)
        merged: str = replica.get("k")
        assert theirs in merged and mine in merged
        assert edit_in_yjs(replica.diff(), [])[1] == merged
