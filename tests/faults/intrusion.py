"""Attempts to get in: forged tokens, other rooms, paths, origins, hosts and methods, and viewers that write.

The requests are written to the socket byte for byte, because an HTTP client would not send most of them. An attempt
got in if the server answers with 101 or with content, or if the document has what a viewer wrote.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pycrdt import Doc, Map
from websockets.asyncio.client import connect

from streamlit_crdt_server import AdminScope, KeyRing, Role, mint, mint_admin_token, protocol
from tests.faults.result import Budget, Result
from tests.faults.support.peer import CONNECTION_ERRORS, HOST, Peer, address, token_for
from tests.server.support.server_process import SECRET, StandAlone, stand_alone

FULL = 300
ANSWER_S = 30.0
ROOM = "room"
RING = KeyRing.from_secret(SECRET)
OTHER_RING = KeyRing.from_secret("the secret of another server")
EVIL_ORIGINS = (
    "https://evil.example", "null", "file://", "http://localhost.evil.example", "https://127.0.0.1@evil.example",
    "chrome-extension://abc", "//127.0.0.1", "http://[broken", "https://evil.example:443",
)  # fmt: skip
EVIL_HOSTS = (
    "evil.example",
    "localhost.evil.example:80",
    "127.0.0.1.nip.example",
    "192.0.2.7",
    "[::1",
    "a b",
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "PROPFIND")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request.

    Attributes:
        name: Kind and description.
        method: HTTP method.
        target: Path and query, as sent.
        headers: Further headers.
        upgrades: Whether it asks for a WebSocket.
    """

    name: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    upgrades: bool = True

    def encode(self, port: int) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        if not any(name == "Host" for name, _ in self.headers):
            lines.append(f"Host: {HOST}:{port}")
        if self.upgrades:
            lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
        else:
            lines.append("Connection: close")
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")


def encode_part(part: Any) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def sign(header: Any, claims: Any, key: bytes) -> str:
    text = f"{encode_part(header)}.{encode_part(claims)}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = token.split(".")
    decoded = [
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (header, claims)
    ]
    return decoded[0], decoded[1]


def flip_signature(token: str, randomness: random.Random) -> str:
    """Return the token with one bit of its signature changed. The last characters have unused bits."""
    head, _, signature = token.rpartition(".")
    content = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    content[randomness.randrange(len(content))] ^= 1 << randomness.randrange(8)
    return f"{head}.{base64.urlsafe_b64encode(bytes(content)).rstrip(b'=').decode()}"


def edit_claims(token: str, randomness: random.Random) -> str:
    """Return the token with changed claims under its old signature."""
    header, claims = parts_of(token)
    name, value = randomness.choice(
        (
            ("rooms", {ROOM: "editor"}), ("rooms", {"*": "editor"}), ("exp", time.time() + 1e9), ("sub", "ada"),
            ("aud", "other"), ("sid", "x"), ("name", "Admin"),
        )
    )  # fmt: skip
    claims[name] = value
    claims["nonce"] = randomness.random()
    return f"{encode_part(header)}.{encode_part(claims)}.{token.rpartition('.')[2]}"


def edit_header(token: str, randomness: random.Random) -> str:
    """Return the token with another algorithm or key id."""
    header, claims = parts_of(token)
    changes: dict[str, Any] = randomness.choice(
        (
            {"alg": "none"}, {"alg": "None"}, {"alg": "HS512"}, {"alg": "RS256"}, {"alg": ["HS256"]}, {"kid": "x"},
            {"kid": None}, {"kid": "../../dev/null"}, {"kid": 0}, {"crit": ["exp"]},
        )
    )  # fmt: skip
    signature = randomness.choice(("", token.rpartition(".")[2]))
    return f"{encode_part(header | changes)}.{encode_part(claims)}.{signature}"


def sign_wrongly(token: str, randomness: random.Random) -> str:
    """Return the token signed with a key that an attacker could know or guess."""
    header, claims = parts_of(token)
    keys = (b"", bytes(32), str(header.get("kid")).encode(), SECRET.encode(), b"secret", token.encode())
    return sign(header, claims, randomness.choice(keys))


def cut_token(token: str, randomness: random.Random) -> str:
    return randomness.choice(
        (
            token[: randomness.randrange(len(token) - 4)],
            token + "AAAA",
            token * 2,
            token.replace(".", "", 1),
            "..",
            "",
        )
    )


def other_ring(token: str, randomness: random.Random) -> str:
    return mint(
        randomness.choice((OTHER_RING, KeyRing({RING.current: OTHER_RING.keys[OTHER_RING.current]}, RING.current))),
        rooms={ROOM: Role.EDITOR}, user="eve", name="Eve", session="s", ttl_s=600.0, now=time.time(),
    )  # fmt: skip


def wrong_claims(token: str, randomness: random.Random) -> str:
    """Return a token with a valid signature for something else: expired, another room, an admin token."""
    now = time.time()
    options: dict[str, Any] = {"user": "eve", "name": "Eve", "session": "s", "ttl_s": 60.0, "now": now}
    return randomness.choice(
        (
            lambda: mint(RING, rooms={ROOM: Role.EDITOR}, **(options | {"now": now - 3600})),
            lambda: mint(RING, rooms={f"{ROOM}2": Role.EDITOR}, **options),
            lambda: mint(RING, rooms={ROOM.upper(): Role.EDITOR}, **options),
            lambda: mint_admin_token(RING, AdminScope.listing(""), now=now),
        )
    )()


FORGERIES: tuple[Callable[[str, random.Random], str], ...] = (
    flip_signature, edit_claims, edit_header, sign_wrongly, cut_token, other_ring, wrong_claims,
)  # fmt: skip


def forged_token(randomness: random.Random) -> Attempt:
    forge = randomness.choice(FORGERIES)
    token = forge(token_for(ROOM, "eve", Role.VIEWER), randomness)
    name = f"token: {forge.__name__}"
    if randomness.random() < 0.5 and token:
        return Attempt(
            name, "GET", f"/{ROOM}", (("Sec-WebSocket-Protocol", f"streamlit-crdt, token.{token}"),)
        )
    return Attempt(name, "GET", f"/{ROOM}?token={quote(token)}")


def wrong_place(randomness: random.Random) -> Attempt:
    """Return a request with a valid token where none is read, or with two."""
    token = token_for(ROOM, "eve")
    places = (
        Attempt("place: none", "GET", f"/{ROOM}"),
        Attempt("place: bearer", "GET", f"/{ROOM}", (("Authorization", f"Bearer {token}"),)),
        Attempt("place: cookie", "GET", f"/{ROOM}", (("Cookie", f"token={token}"),)),
        Attempt("place: parameter", "GET", f"/{ROOM}?jwt={token}"),
        Attempt("place: case", "GET", f"/{ROOM}?TOKEN={token}"),
        Attempt("place: two", "GET", f"/{ROOM}?token={token}&token={token}"),
        Attempt("place: many", "GET", f"/{ROOM}?token={token}" + "&a=1" * 50),
        Attempt("place: protocol", "GET", f"/{ROOM}", (("Sec-WebSocket-Protocol", f"bearer.{token}"),)),
        Attempt("place: epoch", "GET", f"/{ROOM}?token={token}&epoch=../x"),
    )
    return randomness.choice(places)


def wrong_path(randomness: random.Random) -> Attempt:
    """Return a request for another room or no room, with a valid token for one room."""
    paths = (
        "/other", "/room2", "/ROOM", "/roo", "/../room2", "/%2e%2e/room2", "/room%2f..%2fother", "/room%00x", "//room2",
        "/*", "/room%0aX", "/room/other", "/room;x", "/room%5cother", "/%EF%BD%92oom", "/r%D0%BEom", "/room%20",
        "/" + "a" * 200, "/", "/rooms", "/metrics", "/room%252e", "/.", "/..", "/room%E2%80%8B",
    )  # fmt: skip
    path = randomness.choice(paths)
    return Attempt(f"path: {path[:30]}", "GET", f"{path}?token={token_for(ROOM, 'eve')}")


def wrong_origin(randomness: random.Random) -> Attempt:
    target = f"/{ROOM}?token={token_for(ROOM, 'eve')}"
    if randomness.random() < 0.6:
        origin = randomness.choice(EVIL_ORIGINS)
        return Attempt(f"origin: {origin}", "GET", target, (("Origin", origin),))
    host = randomness.choice(EVIL_HOSTS)
    return Attempt(f"host: {host}", "GET", target, (("Host", host),))


def wrong_method(randomness: random.Random) -> Attempt:
    """Return a request to the admin API or a room, without the right to it."""
    method = randomness.choice(METHODS)
    target = randomness.choice(
        ("/rooms", f"/rooms/{ROOM}", f"/{ROOM}", "/rooms/..", "/rooms/%2e%2e", "/rooms/*")
    )
    now = time.time()
    tokens = (
        token_for(ROOM, "eve"),
        mint_admin_token(RING, AdminScope.listing("other"), now=now),
        mint_admin_token(RING, AdminScope.listing(""), now=now - 3600),
        mint_admin_token(OTHER_RING, AdminScope.listing(""), now=now),
        "",
    )
    token = randomness.choice(tokens)
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    return Attempt(f"method: {method} {target}", method, target, headers, upgrades=False)


KINDS: tuple[tuple[Callable[[random.Random], Attempt], float], ...] = (
    (forged_token, 45),
    (wrong_place, 10),
    (wrong_path, 15),
    (wrong_origin, 15),
    (wrong_method, 15),
)


def attempts(randomness: random.Random) -> Iterator[Attempt]:
    makers, weights = zip(*KINDS, strict=True)
    while True:
        yield randomness.choices(makers, weights)[0](randomness)


async def send(attempt: Attempt, port: int) -> str:
    """Send a request. Return the status and the beginning of the body, "" if the connection ends without an answer."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            async with asyncio.timeout(ANSWER_S):
                writer.write(attempt.encode(port))
                head = await reader.readuntil(b"\r\n\r\n")
                status = head.split(b" ")[1].decode()
                return (
                    status
                    if status == "101"
                    else f"{status} {(await reader.read(200)).decode('utf-8', 'replace')}"
                )
        except asyncio.IncompleteReadError:
            return ""
        finally:
            writer.transport.abort()
    return ""


def got_in(answer: str) -> bool:
    """Return whether an answer gives access. 4xx refuses, and so does a connection that is closed."""
    return not (answer == "" or answer.startswith(("4", "501", "505")))


VIEWER_WRITES: tuple[Callable[[bytes], list[bytes]], ...] = (
    lambda update: [protocol.sync_update(update)],
    lambda update: [protocol.sync_step2(update)],
    lambda update: [protocol.renewal(token_for(ROOM, "someone else")), protocol.sync_update(update)],
    lambda update: [protocol.renewal("a.b.c"), protocol.sync_step2(update)],
    lambda update: [protocol.sync_step1(b"\0"), protocol.sync_step2(update), protocol.saved_query(1)],
    lambda update: [b"\x80\x00" + protocol.sync_update(update)[1:]],
    lambda update: [b"\x00\x82\x00" + protocol.sync_update(update)[2:]],
)
"""Frames by which a viewer tries to write, also with numbers in longer encodings."""


async def write_as_viewer(server: StandAlone, number: int, randomness: random.Random) -> None:
    """Try to write a key as a viewer. The caller checks the document."""
    ydoc: Doc[Any] = Doc()
    ydoc.get("state", type=Map)[f"viewer {number}"] = True
    way = randomness.randrange(len(VIEWER_WRITES))
    with suppress(*CONNECTION_ERRORS):
        async with connect(
            address(server.port, ROOM, "eve", Role.VIEWER), proxy=None, max_queue=None
        ) as socket:
            for frame in VIEWER_WRITES[way](ydoc.get_update()):
                await socket.send(frame)
            async with asyncio.timeout(ANSWER_S):
                await (await socket.ping())
            socket.transport.abort()


async def attack(server: StandAlone, seed: int, budget: Budget, rounds: int) -> Result:
    randomness = random.Random(seed)
    counts: Counter[str] = Counter()
    counts_of_errors: Counter[str] = Counter()
    failures: list[str] = []
    peer = Peer(ROOM, "ada")
    peer.port = server.port
    requests = attempts(randomness)
    async with peer:
        await peer.until_synced()
        await peer.edit("first", 1)
        await peer.until_saved()
        while counts.total() < rounds and not budget.is_spent:
            if randomness.random() < 0.1:
                await write_as_viewer(server, counts.total(), randomness)
                counts["viewer writes"] += 1
            else:
                attempt = next(requests)
                answer = await send(attempt, server.port)
                counts[attempt.name.partition(":")[0]] += 1
                if answer.startswith("500"):
                    counts_of_errors["answers 500"] += 1
                elif got_in(answer):
                    failures.append(f"{attempt.name}: {answer[:60]!r}")
        await peer.edit("last", 1)
        await peer.until_saved()
        failures += [f"the document has {key!r}" for key in peer.state if key not in ("first", "last")]
    memory_mb = (await server.read_resources())["memory_kB"] / 1024
    return Result(
        campaign="intrusion",
        seed=seed,
        budget_s=budget.seconds,
        took_s=budget.spent_s,
        tried=counts.total(),
        full=FULL,
        lost=len(failures),
        failures=tuple(failures),
        counts=dict(sorted(counts.items())) | dict(counts_of_errors),
        memory_mb=memory_mb,
    )


async def run_attack(folder: Path, seed: int, budget: Budget, rounds: int) -> Result:
    async with stand_alone(folder / "rooms.db") as server:
        return await attack(server, seed, budget, rounds)


def run(seed: int, budget_s: float, rounds: int = FULL) -> Result:
    """Make attempts until the budget is spent or `rounds` are done."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run_attack(Path(folder), seed, Budget(budget_s), rounds))
