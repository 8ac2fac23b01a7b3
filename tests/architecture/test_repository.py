"""What the repository holds, and that what it says of itself is true."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.guards import ROOT, committed_files, name_of, paths_named

# Put together here, so that this file does not hold what it looks for.
PLACES = ("/" + "root/", "/" + "home/", "/" + "Users/", "/" + "tmp/pytest", str(ROOT) + "/", "../" + "shared")
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "--index" + "-url", "--extra-index" + "-url")
FOLDERS = frozenset(path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "build")
BINARIES = Path(sys.executable).parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of the project's environment in the repository."""
    return subprocess.run(
        [str(BINARIES / command[0]), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def offences_in(content: bytes, words: tuple[str, ...]) -> list[str]:
    """The forbidden words in a file."""
    return [word for word in words if word.encode() in content]


def test_imports_go_in_the_directions_of_the_house() -> None:
    """Every contract of import-linter holds."""
    ended = run("lint-imports", "--no-cache")
    assert ended.returncode == 0, ended.stdout[-3000:]


@pytest.mark.parametrize(
    ("contract", "side"),
    [
        ("The command line enters a service by its app alone", "forbidden_modules"),
        ("Transport holds no SQL", "forbidden_modules"),
        ("Storage speaks no protobuf", "source_modules"),
    ],
)
def test_contracts_of_storage_are_about_all_of_it(contract: str, side: str) -> None:
    """A contract names modules one by one, and is silent about one that it does not name."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [found] = [one for one in document["tool"]["importlinter"]["contracts"] if one["name"] == contract]
    named = {module for module in found[side] if ".storage" in module}
    assert named == {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "services").glob("*/storage*.py")
    }


def test_generated_files_are_those_of_the_sources() -> None:
    """The compiler's output, the error enum and the generated pages are what the sources give now."""
    ended = run("python", "tools/generate.py", "--check")
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_generator_says_which_file_is_stale(tmp_path: Path) -> None:
    """A generated file that somebody edited is found and named."""
    for name in ("tools", "protos", "gen", "docs", "chassis"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "gen/sealgate/auth/v1/session_pb2.pyi").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    (tmp_path / "docs/errors.md").unlink()
    (tmp_path / "docs/routes.md").write_text("# Routes\n", encoding="utf-8")
    ended = run("python", str(tmp_path / "tools/generate.py"), "--check")
    assert ended.returncode == 1
    assert "gen/sealgate/auth/v1/session_pb2.pyi" in ended.stderr
    assert "docs/errors.md" in ended.stderr
    assert "docs/routes.md" in ended.stderr


def test_repository_names_no_place_of_a_workplace() -> None:
    """Absolute paths of whoever worked on it are nobody else's."""
    offences = {
        name_of(path): found
        for path in committed_files()
        if (found := offences_in(path.read_bytes(), PLACES))
    }
    assert offences == {}


def test_repository_names_no_package_registry() -> None:
    """Where packages come from is configured by whoever installs them."""
    offences = {
        name_of(path): found
        for path in committed_files()
        if (found := offences_in(path.read_bytes(), REGISTRIES))
    }
    assert offences == {}


def test_guards_of_words_see_what_they_look_for() -> None:
    """A planted path and a planted host are found in text and in binary files."""
    assert offences_in(b"\x00see " + PLACES[0].encode() + b"x", PLACES) == [PLACES[0]]
    assert offences_in(b"https://files." + REGISTRIES[1].encode(), REGISTRIES) == [REGISTRIES[1]]


@pytest.mark.parametrize("page", [name_of(path) for path in committed_files() if path.suffix == ".md"])
def test_page_names_files_that_exist(page: str) -> None:
    """A path between backticks and the target of a link lead to something."""
    text = (ROOT / page).read_text(encoding="utf-8")
    missing = [
        path
        for path in paths_named(text, FOLDERS)
        if not (ROOT / path).exists() and not ((ROOT / page).parent / path).exists()
    ]
    assert missing == []


def test_guard_of_pages_sees_a_name_that_leads_nowhere() -> None:
    """Paths in code and links are found; patterns, addresses and anchors are not taken for paths."""
    text = (
        "See `edge/nothing.py` and `services/auth/app.py::build`, [this](missing.md#part), "
        "[that](https://example.com/x), [here](#there), `services/*/app.py`, `GET /api/v1/wallets`."
    )
    named = list(paths_named(text, frozenset({"edge", "services", "api"})))
    assert named == ["edge/nothing.py", "services/auth/app.py", "missing.md"]


def test_commands_of_make_help_exist() -> None:
    """What `make help` offers can be made, and what can be made is offered."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [make, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    offered = re.findall(r"^  make ([a-z-]+) ", ask("help").stdout, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert sorted({*offered, "help"}) == sorted(phony.split())
    for target in phony.split():
        assert ask("--dry-run", target).returncode == 0, target
    assert ask("--dry-run", "no-such-target").returncode != 0


def test_dependencies_are_locked_by_their_hashes() -> None:
    """Every package of every lock has its version and at least one hash."""
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert {"run.txt", "test.txt", "tools.txt", "uv.txt"} <= {path.name for path in locks}
    for lock in locks:
        text = re.sub(r"\\\n", " ", lock.read_text(encoding="utf-8"))
        lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_dependencies_are_each_argued_for() -> None:
    """A package that the product needs at run time has its line in the record of dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[<>=!~\[; ]", item)[0] for item in project["dependencies"]]
    [record] = (ROOT / "docs" / "adr").glob("*dependencies*.md")
    text = record.read_text(encoding="utf-8").lower()
    assert [name for name in names if name not in text] == []
