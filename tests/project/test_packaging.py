"""Wheel, source archive and installation: assets, manifest, types, no need of Node."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import hatch_build

ROOT = Path(__file__).parents[2]
COPIED = ("streamlit_crdt", "server", "frontend")
COPIED_FILES = (
    "pyproject.toml",
    "hatch_build.py",
    "package.json",
    "package-lock.json",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
)


def build(
    source: Path, target: str, out: Path, *, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the build backend. With an empty `path`, it finds no Node."""
    variables = os.environ if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)],
        cwd=source, env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def built(source: Path, target: str, out: Path, *, path: str | None = None) -> Path:
    done = build(source, target, out, path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy of the tracked sources, without built assets."""
    copy = tmp_path / "checkout"
    for folder in COPIED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("static", "__pycache__"))
    for file in COPIED_FILES:
        shutil.copy2(ROOT / file, copy / file)
    return copy


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_wheel_contains_packages_types_assets_and_manifest(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "streamlit_crdt/__init__.py",
        "streamlit_crdt/py.typed",
        "streamlit_crdt/pyproject.toml",
        "streamlit_crdt/static/build.json",
        "streamlit_crdt/deploy/demo/app.py",
        "streamlit_crdt_server/__init__.py",
        "streamlit_crdt_server/py.typed",
    } <= names
    assert (
        len(
            [name for name in names if re.fullmatch(r"streamlit_crdt/static/streamlit-crdt-[\w-]+\.js", name)]
        )
        == 1
    )
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "streamlit_crdt",
        "streamlit_crdt_server",
    }


def test_streamlit_finds_component_in_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    looked = subprocess.run(
        [sys.executable, "-c", LOOK_FOR_COMPONENT],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = [line.split("|") for line in looked.stdout.splitlines() if line.startswith("streamlit-crdt|")]
    assert ["streamlit-crdt", "channel", str(tmp_path / "site" / "streamlit_crdt" / "static")] in found


LOOK_FOR_COMPONENT = """
from streamlit.components.v2.manifest_scanner import scan_component_manifests
for manifest, root in scan_component_manifests():
    for component in manifest.components:
        print(manifest.name, component.name, component.resolve_asset_root(root), sep="|")
"""


def test_streamlit_finds_component_in_this_installation() -> None:
    from streamlit.components.v2.manifest_scanner import scan_component_manifests

    names = {
        f"{manifest.name}.{component.name}"
        for manifest, _ in scan_component_manifests()
        for component in manifest.components
    }
    assert "streamlit-crdt.channel" in names


def test_source_archive_has_assets_and_builds_without_node(tmp_path: Path) -> None:
    archive = built(ROOT, "sdist", tmp_path / "archive")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    (source / "frontend" / "src" / "added_later.ts").write_text("export {};", encoding="utf-8")
    made = built(source, "wheel", tmp_path / "out", path="")
    assert "streamlit_crdt/static/build.json" in zipfile.ZipFile(made).namelist()


def test_unbuilt_checkout_without_node_names_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    done = build(checkout, "wheel", tmp_path / "out", path="")
    said = (done.stdout + done.stderr).strip()
    assert done.returncode != 0
    assert "install Node.js 20 or newer" in said
    assert "Traceback" not in said


def test_build_id_in_python_equals_the_frontends() -> None:
    written = json.loads((ROOT / "streamlit_crdt" / "static" / "build.json").read_text(encoding="utf-8"))
    assert written["build"] == hatch_build.build_id(ROOT)


def test_assets_are_stale_after_a_source_or_lock_file_change(checkout: Path) -> None:
    shutil.copytree(ROOT / "streamlit_crdt" / "static", checkout / "streamlit_crdt" / "static")
    assert hatch_build.is_built(checkout)
    (checkout / "frontend" / "src" / "a.test.ts").write_text("export {};", encoding="utf-8")
    assert hatch_build.is_built(checkout)
    source = checkout / "frontend" / "src" / "index.ts"
    source.write_text(source.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert not hatch_build.is_built(checkout)


def test_floors_equal_the_versions_of_the_floor_run() -> None:
    pinned = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "requirements" / "constraints-floor.txt").read_text(encoding="utf-8").split()
        if "==" in line
    )
    for requirement in project()["project"]["dependencies"]:
        found = re.match(r"([\w-]+)>=([\d.]+)", requirement)
        assert found is not None, requirement
        name, floor = found.groups()
        if name != "anyio":  # pycrdt decides it.
            assert (pinned[name.lower()] + ".").startswith(floor + "."), requirement


def test_python_and_frontend_versions_agree() -> None:
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert package["version"] == project()["project"]["version"]


def test_lock_files_name_no_registry() -> None:
    for path in [*(ROOT / "requirements").iterdir(), ROOT / "package-lock.json"]:
        assert "registry" not in re.sub(r"// .*", "", path.read_text(encoding="utf-8")), path
