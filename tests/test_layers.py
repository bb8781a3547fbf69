"""Who imports whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    ("errors",),
    ("scalars",),
    ("tables",),
    ("arrays",),
    ("equality",),
    ("values",),
    ("merge.items", "merge.rule", "merge.alike"),
    ("merge.sequence",),
    ("merge.difference",),
    ("merge.text", "merge.list_rule", "merge.set_rule", "merge.map_rule", "merge.counter"),
    ("merge.registry", "merge.seed"),
    ("merge.choice",),
    ("merge",),
    ("log", "guarding", "kept"),
    ("roots",),
    ("history",),
    ("document",),
    ("contents",),
    ("replica", "readable"),
    ("restoring", "snapshot_list"),
    ("framing",),
    ("channel",),
    ("widgets",),
    ("message",),
    ("mirror.drafts",),
    ("mirror.form", "mirror.memory"),
    ("mirror.delivery", "mirror.volatility"),
    ("mirror.fields",),
    ("mirror.edits", "mirror.plan", "mirror.drawing", "mirror.showing"),
    ("mirror.mirror",),
    ("mirror",),
    ("_compat.app_test",),
    (
        "_compat.context",
        "_compat.version",
        "_compat.browser_message",
        "_compat.launching",
    ),
    ("_compat.widget_state",),
    ("_compat.hooks",),
    ("_compat.forms",),
    ("_compat.runs", "_compat.turns", "_compat.widget_making", "_compat.waking"),
    ("_compat.wrapping",),
    ("_compat",),
    ("membership_protocol",),
    ("snapshots", "state"),
    ("roomfile",),
    ("room",),
    ("way",),
    ("shown", "putting_back"),
    ("writing",),
    ("tab",),
    ("binding",),
    ("unseen", "forms", "asking"),
    ("calls",),
    ("run",),
    ("stay",),
    ("session",),
    ("registry",),
    ("hooks",),
    ("component", "snapshot_menu"),
    ("membership",),
    ("sync",),
    ("testing.rooms", "testing.difference", "testing.opening"),
    ("testing.errors", "testing.line"),
    ("testing.person",),
    ("testing.comparing",),
    ("testing.sessions",),
    ("testing",),
)
"""From the bottom up: a module imports only from layers below its own. What is not named here is above the core."""
CORE = {name for layer in LAYERS[: LAYERS.index(("mirror",)) + 1] for name in layer}
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
PRIVATE_STREAMLIT = ("streamlit.runtime", "streamlit.elements", "streamlit.web", "streamlit.proto")
INSIDE_A_FUNCTION = {("tables", "equality")}
"""The one import against the direction: a frame that was read back is compared as any other value."""


def modules(package: str) -> list[Path]:
    root = ROOT / package
    return sorted(path for path in root.rglob("*.py") if "demo" not in path.relative_to(root).parts)


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def module_of(name: str) -> str:
    """Return the module of this library that a dotted name is in, without the library's own; "" for another's."""
    package, *parts = name.split(".")
    if package != "streamlit_crdt":
        return ""
    longer = ".".join(parts[:2])
    return longer if longer in RANK else "".join(parts[:1])


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that the file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules("streamlit_crdt"), ids=named)
def test_imports_run_one_way(path: Path) -> None:
    own = module_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in imports(path):
        module = module_of(name)
        if not module or (own, module) in INSIDE_A_FUNCTION:
            continue
        if own in CORE:
            assert module in CORE, f"{own} is core and imports {name}"
        if own in RANK and module in RANK:
            assert RANK[module] < RANK[own], f"{own} imports {name}, which stands above it"


@pytest.mark.parametrize("name", sorted(CORE - {"merge"}))
def test_the_core_knows_neither_streamlit_nor_the_network(name: str) -> None:
    path = (ROOT / "streamlit_crdt").joinpath(*name.split("."))
    for imported in imports(path / "__init__.py" if path.is_dir() else path.with_suffix(".py")):
        assert imported.split(".")[0] not in {"streamlit", "socket", "anyio", "hypercorn", "starlette"}
        if imported.startswith("streamlit_crdt_server"):
            assert imported.startswith("streamlit_crdt_server.updates.")


@pytest.mark.parametrize("path", modules("server/streamlit_crdt_server"), ids=named)
def test_the_server_imports_neither_streamlit_nor_the_library(path: Path) -> None:
    for name in imports(path):
        assert name.split(".")[0] not in {"streamlit", "streamlit_crdt"}, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules("streamlit_crdt"), ids=named)
def test_only_compat_touches_private_names_of_streamlit(path: Path) -> None:
    if "_compat" in path.relative_to(ROOT / "streamlit_crdt").parts:
        return
    found = [*_private_imports(path), *_private_attributes(path)]
    assert not found, f"{path.name} touches {found}: move it into _compat"


@pytest.mark.parametrize("path", modules("streamlit_crdt"), ids=named)
def test_only_compat_itself_knows_what_it_is_made_of(path: Path) -> None:
    if "_compat" in path.relative_to(ROOT / "streamlit_crdt").parts:
        return
    inside = {f"streamlit_crdt._compat.{part.stem}" for part in modules("streamlit_crdt/_compat")}
    for name in imports(path):
        assert not any(f"{name}.".startswith(f"{part}.") for part in inside), f"{path.name} imports {name}"


def _private_imports(path: Path) -> list[str]:
    return [
        name
        for name in imports(path)
        if name.split(".")[0] == "streamlit"
        and (name.startswith(PRIVATE_STREAMLIT) or any(part.startswith("_") for part in name.split(".")))
    ]


def _private_attributes(path: Path) -> list[str]:
    """Return accesses such as `st._main` or `streamlit.runtime`, by whatever name Streamlit is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] == "streamlit"
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (chain := ast.unparse(node)).split(".")[0] in names
        and (node.attr.startswith("_") or chain.split(".")[1] in {"runtime", "elements", "web", "proto"})
    ]
