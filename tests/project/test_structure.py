"""Structure of the tree: folder sizes, import circles, file names, docstrings, names of tests."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.test_layers import KNOWN, SOURCES, imports, modules

ROOT = Path(__file__).parents[2]
MAX_MODULES_PER_FOLDER = 14
MAX_TEST_NAME = 70
MAX_MODULE_LINES = 500
QUESTION_WORDS = frozenset(
    ["what", "which", "who", "whose", "whom", "how", "where", "why", "when", "whether", "let"]
)
SOURCE_FOLDERS = ("streamlit_crdt", "server/streamlit_crdt_server", "frontend/src")
PYTHON_FOLDERS = ("streamlit_crdt", "server", "tests", "e2e", "benchmarks", "tools", "examples")
PYTHON = sorted(path for folder in PYTHON_FOLDERS for path in (ROOT / folder).rglob("*.py"))
TEST_FILES = [path for path in PYTHON if path.name.startswith("test_")]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def folders() -> list[Path]:
    roots = [ROOT / folder for folder in SOURCE_FOLDERS]
    return [folder for root in roots for folder in (root, *root.rglob("*")) if folder.is_dir()]


@pytest.mark.parametrize(
    "folder", [f for f in folders() if f.name not in ("__pycache__", "static")], ids=name_of
)
def test_folder_has_at_most_14_modules(folder: Path) -> None:
    files = [*folder.glob("*.py"), *folder.glob("*.ts")]
    counted = [
        file for file in files if file.stem not in ("__init__", "__main__") and ".test" not in file.name
    ]
    assert len(counted) <= MAX_MODULES_PER_FOLDER, sorted(file.name for file in counted)


@pytest.mark.parametrize("part", SOURCES)
def test_imports_have_no_circle(part: str) -> None:
    graph = {name.removesuffix(".__init__"): runtime_imports(name) for name in modules(part)}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def runtime_imports(module: str) -> set[str]:
    """Return the modules of the part that a module imports, without imports for types and without the part itself."""
    own, part = module.removesuffix(".__init__"), module.split(".")[0]
    return {name for name in imports(module, for_types=False) if name in KNOWN and name not in (own, part)}


@pytest.mark.parametrize("part", SOURCES)
def test_file_name_recurs_only_in_other_packages(part: str) -> None:
    places = Counter(tuple(name.split(".")[-2:]) for name in modules(part) if not name.endswith("__init__"))
    assert [place for place, count in places.items() if count > 1] == []


def test_docstring_starts_with_no_question_word() -> None:
    for path in PYTHON:
        found = [
            f"{name_of(path)}:{line}: {first}"
            for line, first in docstrings(path)
            if first_word(first) in QUESTION_WORDS
        ]
        assert not found, "\n".join(found)


def test_test_names_have_at_most_70_characters() -> None:
    for path in TEST_FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        long = [
            node.name
            for node in functions
            if node.name.startswith("test_") and len(node.name) > MAX_TEST_NAME
        ]
        assert not long, (name_of(path), long)


@pytest.mark.parametrize("part", SOURCES)
def test_module_has_at_most_500_lines(part: str) -> None:
    root = SOURCES[part]
    sizes = {
        name: len((root.joinpath(*name.split("."))).with_suffix(".py").read_text().splitlines())
        for name in modules(part)
    }
    assert not {name: lines for name, lines in sizes.items() if lines > MAX_MODULE_LINES}


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and first docstring line of the module, its classes and its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.strip().splitlines()[0]


def first_word(text: str) -> str:
    word = re.match(r"\W*(\w+)", text)
    return word[1].lower() if word else ""
