"""Attempts to bypass the checks of the WebSocket endpoint (rules A1, A2, A3): each row must be refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from streamlit_crdt_server import Hub, KeyRing, Role, Settings, create_app, derive_ring, mint
from tests.server.support.asgi import Request, visit

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
RING = KeyRing.from_secret("the secret of this server")
OTHER = KeyRing.from_secret("the secret of another server")
KEY = RING.keys[RING.current]
LOCAL = {"server": ("127.0.0.1", 8765), "client": ("127.0.0.1", 50_000)}


def token(ring: KeyRing = RING, **changes: Any) -> str:
    options: dict[str, Any] = {
        "rooms": {"room": Role.EDITOR},
        "user": "mallory",
        "name": "Mallory",
        "session": "s1",
        "ttl_s": 600.0,
        "now": NOW,
    }
    return mint(ring, **(options | changes))


def encode(part: Any) -> str:
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(claims: Any = None, header: Any = None, key: bytes = KEY, algorithm: str = "HS256") -> str:
    """Return a token with a valid signature over any header and claims."""
    head = {"alg": "HS256", "typ": "JWT", "kid": RING.current} if header is None else header
    text = f"{encode(head)}.{encode(claims_of() if claims is None else claims)}"
    signature = jwt.get_algorithm_by_name(algorithm).sign(text.encode(), key)
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims_of(**changes: Any) -> dict[str, Any]:
    given = {
        "aud": "streamlit-crdt",
        "sub": "mallory",
        "name": "Mallory",
        "sid": "s1",
        "rooms": {"room": "editor"},
        "iat": NOW,
        "exp": NOW + 600,
    }
    return {name: value for name, value in (given | changes).items() if value is not ...}


def edited(**changes: Any) -> str:
    """Return a valid token with changed claims under the old signature."""
    head, _, signature = token(rooms={"room": Role.VIEWER}).split(".")
    return f"{head}.{encode(claims_of(**changes))}.{signature}"


def spliced() -> str:
    """Return the claims of one valid token under the signature of another."""
    head, claims, _ = token().split(".")
    return f"{head}.{claims}.{token(user='ada').split('.')[2]}"


def headed(**changes: Any) -> str:
    head = {"alg": "HS256", "typ": "JWT", "kid": RING.current} | changes
    return signed(header={name: value for name, value in head.items() if value is not ...})


VALID = token()
TOKENS: dict[str, str] = {
    "an empty token": "",
    "words instead of a token": "let-me-in",
    "three empty parts": "..",
    "a cut signature": VALID[:-1],
    "no signature": VALID.rpartition(".")[0] + ".",
    "two parts": VALID.rpartition(".")[0],
    "four parts": VALID + ".AAAA",
    "padding at the end": VALID + "=",
    "a space at the end": VALID + " ",
    "a line break at the end": VALID + "\n",
    "a space before": " " + VALID,
    "two tokens joined": VALID + VALID,
    "far too long": "a" * 100_000,
    "not ASCII": "é" + VALID,
    "algorithm none": f"{encode({'alg': 'none', 'kid': RING.current})}.{encode(claims_of())}.",
    "algorithm None with the good signature": headed(alg="None"),
    "algorithm nOnE": headed(alg="nOnE"),
    "no algorithm": headed(alg=...),
    "algorithm as a list": headed(alg=["HS256"]),
    "another algorithm of the family": signed(
        header={"alg": "HS384", "kid": RING.current}, algorithm="HS384"
    ),
    "another algorithm in name": headed(alg="HS512"),
    "a public-key algorithm": headed(alg="RS256"),
    "the key of another server": token(OTHER),
    "the key of another server under this key id": token(
        KeyRing({RING.current: OTHER.keys[OTHER.current]}, RING.current)
    ),
    "an empty key": signed(key=b""),
    "a key of zeros": signed(key=bytes(32)),
    "the key id as the key": signed(key=RING.current.encode()),
    "the same secret as a cookie secret": token(derive_ring("the secret of this server")),
    "an empty cookie secret": token(KeyRing.from_secret("", label="cookie secret")),
    "the secret itself as the key": signed(key=b"the secret of this server"),
    "no key id": headed(kid=...),
    "a key id that is a path": headed(kid="../../../../dev/null"),
    "a key id that is a query": headed(kid="x' UNION SELECT 'k"),
    "a key id that is a number": headed(kid=0),
    "a key id that is null": headed(kid=None),
    "a key in the header": headed(jwk={"kty": "oct", "k": encode("key")}),
    "a key's address": headed(jku="https://evil.example/keys.json"),
    "a certificate's address": headed(x5u="https://evil.example/cert.pem"),
    "a critical extension": headed(crit=["exp"], exp=NOW + 600),
    "an unencoded payload": headed(b64=False, crit=["b64"]),
    "another header that is a list": signed(header=["HS256"]),
    "claims edited: editor": edited(rooms={"room": "editor"}),
    "claims edited: later expiry": edited(exp=NOW + 1e9),
    "claims edited: another user": edited(sub="ada"),
    "claims edited: every room": edited(rooms={"*": "editor"}),
    "signature of another token": spliced(),
    "expired long ago": token(now=NOW - 1e6),
    "expires now": token(now=NOW - 600),
    "replayed an hour later": token(now=NOW - 3600),
    "no expiry": signed(claims_of(exp=...)),
    "an expiry that is a text": signed(claims_of(exp=str(int(NOW + 600)))),
    "an expiry that is true": signed(claims_of(exp=True)),
    "an expiry that is null": signed(claims_of(exp=None)),
    "an expiry that is infinite": signed(json.dumps(claims_of(exp="@")).replace('"@"', "Infinity")),
    "an expiry that is not a number": signed(json.dumps(claims_of(exp="@")).replace('"@"', "NaN")),
    "an expiry before the epoch": signed(claims_of(exp=-1)),
    "no audience": signed(claims_of(aud=...)),
    "another audience": signed(claims_of(aud="another-app")),
    "an audience of another spelling": signed(claims_of(aud="Streamlit-CRDT")),
    "no user": signed(claims_of(sub=...)),
    "a user that is an object": signed(claims_of(sub={"id": "ada"})),
    "no session": signed(claims_of(sid="")),
    "no rooms": signed(claims_of(rooms={})),
    "rooms as a list": signed(claims_of(rooms=["room"])),
    "rooms as a text": signed(claims_of(rooms="room")),
    "an unknown role": signed(claims_of(rooms={"room": "owner"})),
    "a role in capitals": signed(claims_of(rooms={"room": "EDITOR"})),
    "a role that is a list": signed(claims_of(rooms={"room": ["editor"]})),
    "a good role beside a bad room": signed(claims_of(rooms={"room": "editor", "../room": "editor"})),
    "another room": token(rooms={"other": Role.EDITOR}),
    "a room in capitals": token(rooms={"ROOM": Role.EDITOR}),
    "a longer name": token(rooms={"room2": Role.EDITOR}),
    "a shorter name": token(rooms={"roo": Role.EDITOR}),
    "a pattern": signed(claims_of(rooms={"ro*": "editor"})),
    "claims that are a list": signed([claims_of()]),
    "claims that are a text": signed('"room"'),
    "claims nested 5000 times": signed("[" * 5000),
    "claims with a byte order mark": signed("\ufeff" + json.dumps(claims_of())),
    "claims with a room twice": signed(json.dumps(claims_of()).replace('"exp"', '"exp": 0, "exp"')),
    "two audiences": signed(claims_of(aud=["streamlit-crdt", "another-app"])),
    "an expiry after the year 9999": signed(claims_of(exp=1e15)),
    "a user with half a character": signed(claims_of(sub="\ud800")),
    "another type": headed(typ="at+jwt"),
}
PLACES: dict[str, Request] = {
    "no token at all": Request(),
    "a token in a header": Request(headers=(("authorization", f"Bearer {VALID}"),)),
    "a token in a cookie": Request(headers=(("cookie", f"token={VALID}"),)),
    "a token under another parameter": Request(query=f"jwt={VALID}"),
    "a token under a parameter in capitals": Request(query=f"Token={VALID}"),
    "a token under another subprotocol": Request(subprotocols=(f"bearer.{VALID}",)),
    "a token under a subprotocol in capitals": Request(subprotocols=(f"TOKEN.{VALID}",)),
    "a bare token as subprotocol": Request(subprotocols=(VALID,)),
    "two tokens, one of them good": Request(subprotocols=(f"token.{VALID}", "token.x")),
    "two tokens in two places": Request(subprotocols=(f"token.{VALID}",), query=f"token={VALID}"),
    "two tokens in the query": Request(query=f"token=x&token={VALID}"),
    "a query that is not UTF-8": Request(query=f"token={VALID}&epoch=%ff"),
    "a query of too many fields": Request(query=f"token={VALID}" + "&a=1" * 100),
    "an invalid epoch": Request(query=f"token={VALID}&epoch=../x"),
    "two epochs": Request(query=f"token={VALID}&epoch=aa&epoch=bb"),
}
PATHS = (
    ("/../room", "/../room"),
    ("/..", "/.."),
    ("/.", "/."),
    ("/..", "/%2e%2e"),
    ("/a/../room", "/a/../room"),
    ("/a/../room", "/a%2f..%2froom"),
    ("/room/..", "/room/.."),
    ("/room", "/x/%72oom"),
    ("/room", "/room%FF"),
    ("/room\ufffd", "/room%FF"),
    ("/room", "/room%C0%80"),
    ("/room\0", "/room%00"),
    ("/room\n", "/room%0A"),
    ("/room\x9b", "/room%C2%9B"),
    ("/*", "/*"),
    ("/*", "/%2A"),
    ("/", "/"),
    ("/" + "a" * 257, "/" + "a" * 257),
)
OTHER_NAMES = (
    ("//room", "//room"),
    ("/room/", "/room/"),
    ("/room ", "/room%20"),
    ("/room;x", "/room;x"),
    ("/room\\", "/room%5C"),
    ("/ROOM", "/ROOM"),
    ("/ｒoom", "/%EF%BD%92oom"),
    ("/rооm", "/r%D0%BE%D0%BEm"),
    ("/room\u200b", "/room%E2%80%8B"),
    ("/ro\u00f6m", "/ro%C3%B6m"),
    ("/roo\u0308m", "/roo%CC%88m"),
    ("/room%", "/room%25"),
    ("/%72oom", "/%2572oom"),
)
"""Names that look like the room of the token, or that other software makes equal to it."""
ORIGINS = (
    "https://evil.example",
    "http://evil.example:8501",
    "null",
    "",
    "https://app.example.com.evil.example",
    "https://evil-app.example.com",
    "https://example.com",
    "https://sub.app.example.com",
    "https://app.example.com@evil.example",
    "https://evil.example@app.example.com",
    "https://app.example.com:evil",
    "https://app.example.com.",
    "https://аpp.example.com",
    "http://localhost:8501",
    "http://127.0.0.1:8501",
    "file://",
    "file://app.example.com",
    "chrome-extension://app.example.com",
    "app.example.com",
    "//app.example.com",
    "http://[broken",
)
HOSTS = (
    (),
    ("evil.example:8765",),
    ("",),
    ("localhost.evil.example",),
    ("127.0.0.1.nip.example:8765",),
    ("evil.example", "127.0.0.1:8765"),
    ("127.0.0.1:8765", "evil.example"),
    ("127.0.0.1:8765@evil.example",),
    ("evil.example@127.0.0.1",),
    ("127.0.0.1:evil",),
    ("[::1",),
    ("192.0.2.7:8765",),
)

CASES: dict[str, tuple[Request, str]] = (
    {f"token: {name}": (Request(subprotocols=(f"token.{text}",)), "0.0.0.0") for name, text in TOKENS.items()}
    | {f"place: {name}": (request, "0.0.0.0") for name, request in PLACES.items()}
    | {
        f"path: {raw!a}": (
            Request(path, raw_path=raw, subprotocols=(f"token.{token(rooms={'*': Role.EDITOR})}",)),
            "0.0.0.0",
        )
        for path, raw in PATHS
    }
    | {
        f"name: {raw!a}": (Request(path, raw_path=raw, subprotocols=(f"token.{VALID}",)), "0.0.0.0")
        for path, raw in OTHER_NAMES
    }
    | {
        f"origin: {origin!a}": (Request(origins=(origin,), subprotocols=(f"token.{VALID}",)), "0.0.0.0")
        for origin in ORIGINS
    }
    | {
        "origin: two of them": (
            Request(
                origins=("https://app.example.com", "https://evil.example"), subprotocols=(f"token.{VALID}",)
            ),
            "0.0.0.0",
        )
    }
    | {
        f"host: {hosts!a}": (Request(hosts=hosts, subprotocols=(f"token.{VALID}",), **LOCAL), "127.0.0.1")  # type: ignore[arg-type]
        for hosts in HOSTS
    }
)


async def is_accepted_by_server(request: Request, host: str = "0.0.0.0") -> bool:
    settings = Settings(host=host)
    async with Hub(settings, keys=RING) as hub:
        app = create_app(settings, hub=hub, clock=lambda: NOW)
        async with visit(app, request) as visited:
            if not visited.is_accepted:  # one event, which ASGI servers turn into HTTP 403
                assert [answer["type"] for answer in visited.answers] == ["websocket.close"]
            assert bool(hub.rooms) <= visited.is_accepted
            return visited.is_accepted


@pytest.mark.parametrize("case", CASES)
async def test_A2_unauthorized_request_is_refused(case: str) -> None:
    assert not await is_accepted_by_server(*CASES[case])


def test_table_of_bypass_cases_has_at_least_100_rows() -> None:
    print(f"{len(CASES)} bypass cases, none accepted unless a test fails")
    assert len(CASES) >= 100


@pytest.mark.parametrize(
    ("request_", "host"),
    [
        (Request(subprotocols=(f"token.{VALID}",)), "0.0.0.0"),
        (Request(subprotocols=("streamlit-crdt", f"token.{VALID}")), "0.0.0.0"),
        (Request(query=f"token={VALID}"), "0.0.0.0"),
        (Request(query=f"epoch=00ff&token={VALID}"), "0.0.0.0"),
        (Request(subprotocols=(f"token.{token(rooms={'*': Role.VIEWER})}",)), "0.0.0.0"),
        (Request(subprotocols=(f"token.{signed()}",)), "0.0.0.0"),
        (Request(origins=("https://app.example.com",), subprotocols=(f"token.{VALID}",)), "0.0.0.0"),
        (Request(hosts=("localhost:8765",), query=f"token={VALID}", **LOCAL), "127.0.0.1"),  # type: ignore[arg-type]
        (Request(hosts=("[::1]:8765",), query=f"token={VALID}", **LOCAL), "::1"),  # type: ignore[arg-type]
    ],
)
async def test_A2_authorized_request_is_accepted(request_: Request, host: str) -> None:
    assert await is_accepted_by_server(request_, host)


async def test_host_in_allow_origin_is_accepted_on_loopback() -> None:
    settings = Settings(allow_origin=("https://app.example.com",))
    async with Hub(settings, keys=RING) as hub:
        app = create_app(settings, hub=hub, clock=lambda: NOW)
        request = Request(query=f"token={VALID}", hosts=("app.example.com",), **LOCAL)  # type: ignore[arg-type]
        async with visit(app, request) as visited:
            assert visited.is_accepted


async def test_refusal_is_counted_by_reason_and_its_log_omits_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(host="0.0.0.0")
    async with Hub(settings, keys=RING) as hub:
        app = create_app(settings, hub=hub, clock=lambda: NOW)
        for name in ("expired long ago", "another room", "the key of another server", "a cut signature"):
            async with visit(app, Request(query=f"token={TOKENS[name]}")) as visited:
                assert not visited.is_accepted
                assert b"token" not in visited.scope["query_string"]
        text = hub.metrics.encode().decode()
    for reason in ("token_expired", "room_forbidden", "token_key_unknown", "token_malformed"):
        assert f'streamlit_crdt_refusals_total{{reason="{reason}"}} 1.0' in text
    assert "192.0.2.7" in caplog.text
    assert not any(part in caplog.text for part in VALID.split("."))
