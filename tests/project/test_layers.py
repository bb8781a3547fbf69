"""Import rules, checked in the sources: package ranks, no Streamlit outside its packages."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = {"streamlit_crdt": ROOT, "streamlit_crdt_server": ROOT / "server"}
RANKS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "streamlit_crdt": (
        ("errors",),
        ("codec", "_compat"),
        ("merge", "backend"),
        ("document", "access"),
        ("binding",),
        ("transport",),
        ("session",),
        ("room",),
        ("client", "rooms"),
        ("room_picker",),
        ("deploy", "testing"),
    ),
    "streamlit_crdt_server": (
        ("errors", "metrics", "gc_freeze", "open_files", "throttled_log", "token_bucket"),
        ("names", "yjs", "storage", "gap_timer"),
        ("protocol", "settings", "rewriting"),
        ("auth",),
        ("room",),
        ("hub",),
        ("asgi",),
        ("http",),
        ("runner",),
    ),
    "frontend": (
        ("clock", "errors"),
        ("document",),
        ("transport",),
        ("page",),
        ("room-status",),
        ("tab",),
        ("index",),
    ),
}
"""The packages of each part from the bottom up. A module imports from lower ranks and from its own package."""
WITHOUT_IO = ("errors", "codec", "merge", "document", "binding")
FRONTEND = ROOT / "frontend" / "src"
MAX_FRONTEND_MODULES_PER_FOLDER = 14
TS_IMPORT = re.compile(r'^(?:import|export)\b[^;]*?\bfrom "(\.[^"]+)";', re.MULTILINE)
PRIVATE_STREAMLIT = ("streamlit.runtime", "streamlit.elements", "streamlit.web", "streamlit.proto")


def modules(package: str) -> list[str]:
    """Return the dotted names of the modules of a package, without its demo."""
    root = SOURCES[package]
    paths = sorted(root.joinpath(package).rglob("*.py"))
    names = [".".join(path.relative_to(root).with_suffix("").parts) for path in paths]
    return [name for name in names if ".demo." not in name]


def path_of(module: str) -> Path:
    return SOURCES[module.split(".")[0]].joinpath(*module.split(".")).with_suffix(".py")


ALL = [name for package in SOURCES for name in modules(package)]
KNOWN = frozenset(name.removesuffix(".__init__") for name in ALL)


def entry_of(module: str) -> str:
    """Return the package or root module that a dotted name of this project is in, "" for the facade."""
    return "".join(module.split(".")[1:2]).replace("__init__", "").replace("__main__", "")


def ranks_of(part: str) -> dict[str, int]:
    return {name: rank for rank, names in enumerate(RANKS[part]) for name in names}


@cache
def imports(module: str, *, for_types: bool = True) -> tuple[str, ...]:
    """Return the dotted names that a module imports. `from a import b` gives `a.b` if that is a module."""
    return tuple(_imports(module, for_types))


def _imports(module: str, for_types: bool) -> Iterator[str]:
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (names & KNOWN) or {node.module}


def test_module_imports_only_from_lower_packages() -> None:
    for module in ALL:
        part, own = module.split(".")[0], entry_of(module)
        ranks = ranks_of(part)
        assert not own or own in ranks, f"{module} is in no package that has a rank"
        for name in imports(module):
            other = entry_of(name)
            if name.split(".")[0] != part or not own or not other or other == own:
                continue
            assert ranks[other] < ranks[own], f"{module} imports {name}, which ranks above it"


def test_packages_without_io_import_neither_streamlit_nor_the_network() -> None:
    for module in modules("streamlit_crdt"):
        if entry_of(module) not in WITHOUT_IO:
            continue
        for name in imports(module):
            assert name.split(".")[0] not in {"streamlit", "socket", "anyio", "hypercorn", "starlette"}, name


def test_server_imports_neither_streamlit_nor_the_library() -> None:
    for module in modules("streamlit_crdt_server"):
        for name in imports(module):
            assert name.split(".")[0] not in {"streamlit", "streamlit_crdt"}, f"{module} imports {name}"


def test_server_modules_import_one_another_without_circles() -> None:
    names = modules("streamlit_crdt_server")
    TopologicalSorter({name: KNOWN.intersection(imports(name)) for name in names}).prepare()


def test_only_compat_uses_private_names_of_streamlit() -> None:
    for module in modules("streamlit_crdt"):
        if entry_of(module) == "_compat":
            continue
        found = [*_private_imports(module), *_private_attributes(module)]
        assert not found, f"{module} uses {found}: move it into _compat"


def test_other_packages_import_compat_as_a_whole() -> None:
    for module in modules("streamlit_crdt"):
        if entry_of(module) == "_compat":
            continue
        for name in imports(module):
            assert not name.startswith("streamlit_crdt._compat."), f"{module} imports {name}"


def _private_imports(module: str) -> list[str]:
    return [
        name
        for name in imports(module)
        if name.split(".")[0] == "streamlit"
        and (name.startswith(PRIVATE_STREAMLIT) or any(part.startswith("_") for part in name.split(".")))
    ]


def _private_attributes(module: str) -> list[str]:
    """Return accesses such as `st._main` or `streamlit.runtime`, by whatever name Streamlit is imported."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
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


def frontend_imports() -> dict[str, set[str]]:
    """Return the modules that each frontend module imports, as paths below `frontend/src`. Tests are left out."""
    found = {}
    for path in sorted(FRONTEND.rglob("*.ts")):
        if path.name.endswith((".test.ts", ".d.ts")) or path.name == "testing.ts":
            continue
        targets = TS_IMPORT.findall(path.read_text(encoding="utf-8"))
        paths = {(path.parent / f"{target}.ts").resolve() for target in targets}
        name = path.relative_to(FRONTEND).with_suffix("").as_posix()
        found[name] = {other.relative_to(FRONTEND).with_suffix("").as_posix() for other in paths}
    return found


FRONTEND_IMPORTS = frontend_imports()


def test_frontend_module_imports_only_from_lower_folders() -> None:
    for module in FRONTEND_IMPORTS:
        ranks = ranks_of("frontend")
        own = module.split("/")[0]
        for name in FRONTEND_IMPORTS[module]:
            assert name in FRONTEND_IMPORTS, f"{module} imports {name}, which is no module"
            other = name.split("/")[0]
            assert other == own or ranks[other] < ranks[own], f"{module} imports {name}, which ranks above it"


def test_frontend_modules_import_one_another_without_circles() -> None:
    TopologicalSorter(FRONTEND_IMPORTS).prepare()


def test_frontend_folders_have_at_most_14_modules() -> None:
    folders = Counter(module.rpartition("/")[0] for module in FRONTEND_IMPORTS)
    assert len(FRONTEND_IMPORTS) > 15
    assert max(folders.values()) <= MAX_FRONTEND_MODULES_PER_FOLDER, folders


def test_frontend_module_names_are_unique() -> None:
    names = Counter(module.rpartition("/")[2] for module in FRONTEND_IMPORTS)
    assert [name for name, count in names.items() if count > 1] == []


def test_frontend_page_imports_only_types_of_transport() -> None:
    for module in [name for name in FRONTEND_IMPORTS if name.startswith("page/")]:
        source = FRONTEND.joinpath(f"{module}.ts").read_text(encoding="utf-8")
        for match in TS_IMPORT.finditer(source):
            assert "/transport/" not in match[1] or match[0].startswith("import type "), match[0]
