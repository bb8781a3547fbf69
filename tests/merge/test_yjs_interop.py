"""Texts that a Yjs program edits by UTF-16 units while Python edits them by code points."""

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
from tests.support.unicode_texts import random_text, typed

EDITOR = Path(__file__).parents[1] / "support" / "edit_in_yjs.mjs"
ROUNDS = 6


def in_yjs(update: bytes, edits: list[tuple[int, int, str]]) -> tuple[bytes, str]:
    """Return the update that Yjs makes of these edits, and the text that it has then."""
    asked = json.dumps({"update": b64encode(update).decode(), "edits": edits})
    done = subprocess.run(["node", str(EDITOR)], input=asked, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return b64decode(answer["update"]), answer["text"]


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize("seed", range(4))
def test_a_text_that_python_and_yjs_edit_at_the_same_moment_is_the_same_in_both(seed: int) -> None:
    random = Random(seed)
    replica = Replica()
    replica.edit("k", None, "Grüße 👍 von 👩‍👩‍👧‍👦", RULES["text"])
    for number in range(ROUNDS):
        seen: str = replica.get("k")
        at = random.randrange(len(seen) + 1)
        end = min(len(seen), at + random.randrange(3))
        theirs, mine = f"<{number}👍>", f"[{number}é]"
        edit = (units(seen[:at]), units(seen[at:end]), theirs)
        update, text = in_yjs(replica.diff(), [edit])
        assert text == seen[:at] + theirs + seen[end:]
        replica.edit("k", seen, typed(seen, mine + random_text(random, 2), random), RULES["text"])
        replica.apply(update)
        merged: str = replica.get("k")
        assert theirs in merged and mine in merged
        assert in_yjs(replica.diff(), [])[1] == merged
