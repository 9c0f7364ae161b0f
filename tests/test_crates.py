"""Tests of engines in Rust: built once, found again, or refused in a line; cargo only notes what it is asked."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.in_ci import long

from pytest_inferena.commands.cli import registry
from pytest_inferena.engines import crates
from pytest_inferena.engines.distributions import SetupError
from pytest_inferena.engines.framework import Framework, RegistryError
from pytest_inferena.engines.install import setup
from pytest_inferena.store import cache

ROOT = Path(__file__).parents[1]
CARGO = f"""#!{sys.executable}
import os, sys
from pathlib import Path

Path(os.environ["CALLS"]).open("a").write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "fetch":
    if "--offline" in sys.argv and not Path("Cargo.lock").exists():
        sys.exit(101)
    package = '[[package]]\\nname = "engine"\\nversion = "1.2.3"\\nsource = "registry"\\nchecksum = "abc"\\n'
    Path("Cargo.lock").write_text(package)
elif "broken" in Path("src/main.rs").read_text():
    sys.exit("error: could not compile")
else:
    made = Path(os.environ["CARGO_TARGET_DIR"]) / "release" / "inferena-small"
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text("#!/bin/sh\\n# " + os.environ["INFERENA_BUILD"] + "\\n")
    made.chmod(0o755)
"""
RUSTC = f"#!{sys.executable}\nprint('rustc 1.95.0 (abc 2026-01-01)\\nhost: here\\nrelease: 1.95.0')\n"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Framework:
    """An engine in Rust with a package beside it, a cargo and a rustc, and an empty cache."""
    folder = tmp_path / "adapters" / "small"
    for place in (folder / "src", tmp_path / "bin"):
        place.mkdir(parents=True)
    for name in ("shared", "inner"):  # a dependency, and one in place of a dependency's own
        (folder.parent / name / "src").mkdir(parents=True)
        (folder.parent / name / "Cargo.toml").write_text("[package]\n")
        (folder.parent / name / "src" / "lib.rs").write_text(f"// {name}\n")
    (folder / "Cargo.toml").write_text(
        '[features]\ncuda = []\n[dependencies]\nengine = "=1.2.3"\nshared = { path = "../shared" }\n'
        '[patch.crates-io]\ninner = { path = "../inner" }\n'
    )
    (folder / "src" / "main.rs").write_text("fn main() {}\n")
    (folder / "src" / "kernel.wgsl").write_text("// compiled in\n")
    for name, text in (("cargo", CARGO), ("rustc", RUSTC)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (folder / "adapter.toml").write_text(
        'name = "small"\ntitle = "Small"\nlanguage = "rust"\ncargo = "inferena-small"\n'
        '[[backends]]\nname = "cpu"\ndevice = "cpu"\n[[backends]]\nname = "cuda"\ndevice = "own"\nfeature = "cuda"\n'
    )
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    crates._key.cache_clear()
    return Framework.read(folder)


def calls(engine: Framework) -> list[str]:
    """What cargo was asked, a word each."""
    file = engine.folder.parents[1] / "calls"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def test_built_once(engine: Framework) -> None:
    """The second time nothing is asked of cargo, and a process that begins later finds it."""
    missing = engine.missing(engine.backends[0])
    program = setup(engine)
    asked = calls(engine)

    assert "inferena-small is not built: inferena setup small" == missing
    assert program == setup(engine)
    assert ["fetch", "fetch", "build"] == asked == calls(engine), "offline first, then from the registry"
    assert "" == engine.missing(engine.backends[0])
    assert (str(program),) == engine.command(engine.backends[0])
    assert program.stat().st_mode & stat.S_IXUSR


def test_versions_are_what_was_resolved(engine: Framework) -> None:
    """Direct dependencies, the compiler and a hash of all crates: in the executable, and in what is kept beside it."""
    program = setup(engine)
    versions = Framework.read(engine.folder).versions

    assert {"engine": "1.2.3", "rustc": "1.95.0"} == {name: versions[name] for name in versions if name != "Cargo.lock"}
    assert 16 == len(versions["Cargo.lock"])
    assert json.dumps(dict(versions)) in program.read_text()


@pytest.mark.parametrize(
    "file", ["small/src/main.rs", "shared/src/lib.rs", "inner/src/lib.rs", "small/Cargo.toml", "small/src/kernel.wgsl"]
)
def test_other_sources_are_another_build(engine: Framework, file: str) -> None:
    """A change anywhere asks for another build, and does not pass for the one there is."""
    first = setup(engine)
    changed = engine.folder.parent / file
    changed.write_text(changed.read_text() + "\n# changed\n")
    crates._key.cache_clear()

    assert "not built" in engine.missing(engine.backends[0])
    assert first != setup(engine)
    assert changed.read_text() == (cache.root() / "rust" / "src" / file).read_text(), "cargo has it"


@pytest.mark.parametrize("file", ["adapter.py", "adapter.toml"])
def test_what_cargo_is_not_given_builds_nothing_again(engine: Framework, file: str) -> None:
    """What the preparer runs, and what adapter.toml says, is no part of the executable."""
    first = setup(engine)
    with (engine.folder / file).open("a") as changed:
        changed.write("\n# changed\n")
    crates._key.cache_clear()

    assert first == setup(engine)


def test_another_compiler_builds_again(engine: Framework) -> None:
    """Its name is part of the versions, so a figure says what it was compiled with."""
    setup(engine)
    rustc = engine.folder.parents[1] / "bin" / "rustc"
    rustc.write_text(rustc.read_text().replace("1.95.0", "1.96.0"))
    setup(engine)

    assert 2 == calls(engine).count("build")
    assert "1.96.0" == Framework.read(engine.folder).versions["rustc"]


def test_a_feature_is_a_build_of_its_own(engine: Framework) -> None:
    """A backend that needs one says how to get it, and does not run on an executable without it."""
    setup(engine)
    cuda = engine.backends[1]
    missing = engine.missing(cuda)
    setup(engine, feature="cuda")

    assert "inferena-small with --feature cuda is not built: inferena setup small --feature cuda" == missing
    assert "" == engine.missing(cuda)
    assert engine.command(cuda) != engine.command(engine.backends[0])


def test_without_cargo(engine: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways out are named."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        SetupError, match=r"Small: cargo .* is not on PATH: install it, or 'pip install pytest-inferena-"
    ):
        setup(engine)


def test_a_build_that_fails(engine: Framework) -> None:
    """The step is named, and nothing is kept of it."""
    (engine.folder / "src" / "main.rs").write_text("broken\n")
    with pytest.raises(SetupError, match=r"Small: 'cargo build .*' exited with status 1"):
        setup(engine)

    assert "not built" in engine.missing(engine.backends[0])


def test_a_given_executable(engine: Framework, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable goes before everything; one that is no program is said so, and none is built beside it."""
    monkeypatch.setenv("INFERENA_SMALL_BIN", str(tmp_path / "gone"))
    missing = engine.missing(engine.backends[0])
    monkeypatch.setenv("INFERENA_SMALL_BIN", str(tmp_path / "bin" / "cargo"))

    assert f"{tmp_path / 'gone'} is no program: inferena setup small" == missing
    assert "" == engine.missing(engine.backends[0])
    with pytest.raises(SetupError, match="INFERENA_SMALL_BIN is set"):
        setup(engine)


def test_a_wheel_counts_only_of_these_sources(
    engine: Framework, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It goes before a build, whatever compiled it; one of other sources would be measured under a wrong hash."""
    program = setup(engine)
    package = tmp_path / "site" / "pytest_inferena_small"
    shutil.copytree(program.parent, package)
    document = json.loads((package / "build.json").read_text())
    (package / "build.json").write_text(json.dumps({**document, "versions": {"rustc": "1.90.0"}}))
    (tmp_path / "site" / "pytest_inferena_small-1.dist-info").mkdir()
    metadata = tmp_path / "site" / "pytest_inferena_small-1.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: pytest-inferena-small\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(metadata.parents[1]))
    wheels = setup(engine)
    (package / "build.json").write_text(json.dumps({**document, "key": "other"}))

    assert package / "inferena-small" == wheels
    assert program == setup(engine)
    assert 1 == calls(engine).count("build")


def test_a_feature_of_what_cargo_does_not_build(engine: Framework) -> None:
    """It is refused rather than forgotten."""
    with pytest.raises(SetupError, match="Small is not built by cargo, so it has no feature cuda"):
        setup(replace(engine, cargo=""), feature="cuda")


def test_a_feature_that_the_package_lacks(engine: Framework) -> None:
    """Those that it has are named, and cargo is not asked."""
    with pytest.raises(SetupError, match=r"Small: it has no feature mkl; there are cuda$"):
        setup(engine, feature="mkl")

    assert [] == calls(engine)


def test_a_feature_that_another_program_builds(engine: Framework, tmp_path: Path) -> None:
    """What is missing is said in a line with its remedy before anything is compiled; what is built needs it no more."""
    cuda = replace(engine.backends[1], build_tools={"nvcc": "install NVIDIA's CUDA toolkit"})
    engine = replace(engine, backends=(cuda,))
    with pytest.raises(SetupError) as refusal:
        setup(engine, feature="cuda")
    asked = calls(engine)
    (tmp_path / "bin" / "nvcc").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "nvcc").chmod(0o755)
    program = setup(engine, feature="cuda")
    (tmp_path / "bin" / "nvcc").unlink()

    assert "Small: cuda is built with nvcc, which is not on PATH: install NVIDIA's CUDA toolkit" == str(refusal.value)
    assert [] == asked
    assert program == setup(engine, feature="cuda")


def test_a_feature_for_another_platform(engine: Framework) -> None:
    """It is refused before anything is compiled."""
    metal = replace(engine.backends[1], platforms=("nowhere",))
    with pytest.raises(SetupError, match=r"Small: cuda is for nowhere only$"):
        setup(replace(engine, backends=(metal,)), feature="cuda")

    assert [] == calls(engine)


def test_no_package_beside_adapter_toml(engine: Framework) -> None:
    """It is refused when it is registered."""
    (engine.folder / "Cargo.toml").unlink()
    with pytest.raises(RegistryError, match=r"no Cargo\.toml beside it"):
        Framework.read(engine.folder)


@long
def test_the_shared_crates_pass_their_own_checks() -> None:
    """The timing loop is the page's, clippy has nothing to say, and all crates are formatted.

    Clippy would compile the engines' crates once more, for minutes: `make lint-rust` does.
    """
    environment = os.environ | {"CARGO_TARGET_DIR": str(cache.root() / "cargo")}
    crate = ["--manifest-path", str(ROOT / "adapters" / "rust" / "Cargo.toml")]
    subprocess.run(["cargo", "test", "--quiet", *crate], env=environment, check=True)
    for shared in ("rust", "walker"):
        crate = ["--manifest-path", str(ROOT / "adapters" / shared / "Cargo.toml")]
        subprocess.run(["cargo", "clippy", "--quiet", *crate, "--", "-D", "warnings"], env=environment, check=True)
    for manifest in ROOT.glob("adapters/*/Cargo.toml"):
        subprocess.run(["cargo", "fmt", "--check", "--manifest-path", str(manifest)], check=True)


@pytest.mark.parametrize(
    "engine", [one for one in registry().frameworks.values() if one.cargo], ids=lambda one: one.name
)
def test_versions_of_crates_are_exact(engine: Framework) -> None:
    """A range would measure another engine on another day; lockfiles are not kept."""
    for folder in crates.packages(engine.folder):
        manifest = tomllib.loads((folder / "Cargo.toml").read_text())
        asked = [one if isinstance(one, str) else one.get("version", "=") for one in manifest["dependencies"].values()]
        assert [] == [version for version in asked if not version.startswith("=")]
