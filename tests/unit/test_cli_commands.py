"""The command line: what it teaches, how it ends, what it never prints."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chassis.clock import SystemClock
from chassis.errors import Code, SealgateError, invalid
from chassis.keyring import KeyRing, create_key
from chassis.limits import SIGNING_KEY_LEAD_SECONDS
from cli.help import TaughtCommand, TaughtGroup
from cli.main import main
from cli.operating import explain
from cli.output import paint
from cli.project import MODULES
from services.auth.domain import project

ROOT = Path(__file__).parents[2]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command below a group."""
    found: list[tuple[str, ...]] = [path]
    for name, command in group.commands.items():
        words = (*path, name)
        found += commands(command, words) if isinstance(command, click.Group) else [words]
    return found


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_help_is_there_for_every_command_when_asked(words: tuple[str, ...]) -> None:
    """Every command explains itself and every option it has."""
    answer = CliRunner().invoke(main, [*words, "--help"])
    assert answer.exit_code == 0
    assert answer.output.startswith("Usage: ")
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_command_ends_with_two_when_its_answer_cannot_be_written() -> None:
    """A full disk does not swallow what is shown once: stderr and the exit code tell of it."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [Path(sys.executable).with_name("sealgate"), "config", "check", ROOT / "deploy" / "edge.yaml"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr == (
        "sealgate: cannot write to stdout (No space left on device), and some of the answer is lost\n"
    )


def test_command_ends_with_two_when_stdout_is_closed() -> None:
    """As with a full disk: one line, and no answer that nobody gets is passed over."""
    program = "import sys; sys.stdout = None; from cli.main import main; main()"
    for words in (("config", "check", "deploy/edge.yaml"), ("--help",)):
        ended = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert ended.returncode == 2
        assert ended.stderr == (
            "sealgate: cannot write to stdout (it is closed), and some of the answer is lost\n"
        )


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("market", "list", "--help")], ids=" ".join)
def test_help_that_cannot_be_written_ends_with_two(words: tuple[str, ...]) -> None:
    """In one line, as any other answer."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [Path(sys.executable).with_name("sealgate"), *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("sealgate: cannot write to stdout (No space left on device)")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_every_command_is_a_taught_one(words: tuple[str, ...]) -> None:
    """Which is what has help end well."""
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert isinstance(command, TaughtCommand | TaughtGroup)


def test_letters_that_the_terminal_does_not_have_are_written_otherwise() -> None:
    """A question in another script stops no list."""
    ended = subprocess.run(
        [sys.executable, "-c", "from cli.output import say; say('Zürich'); say('ok')"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("Z\\xfcrich\nok\n", "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--state", "sent"), "--state sent needs --reference"),
        (("--state", "sent", "--reference", ""), "--state sent needs --reference"),
        (("--state", "failed", "--reference", "0x1"), "--reference has nothing to do with --state failed"),
    ],
)
def test_settling_says_which_states_have_a_reference(words: tuple[str, ...], complaint: str) -> None:
    """A usage error before anybody is asked; there is no stack here."""
    answer = CliRunner().invoke(main, ["wallet", "settle", "ID", *words, "--data", "/nowhere"])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert complaint in answer.stderr


@pytest.mark.parametrize(
    "words",
    [()] + [(name,) for name, one in main.commands.items() if isinstance(one, click.Group)],
    ids=" ".join,
)
def test_list_of_commands_is_not_cut(words: tuple[str, ...]) -> None:
    """On a terminal of 80 columns each line ends with what it has to say."""
    output = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).output
    assert not [line for line in output.splitlines() if line.endswith("...") and not line.startswith("Usage")]


def test_modules_are_those_that_the_platform_has() -> None:
    """What the command refuses by itself, auth would refuse as well, and nothing else."""
    assert MODULES == project.MODULES
    help_text = CliRunner().invoke(main, ["project", "set", "--help"]).output
    assert all(f"\n  {module} " in help_text for module in MODULES)
    assert "--modules is the whole list" in help_text


def test_help_of_the_program_names_the_exit_codes_when_asked() -> None:
    """Scripts can rely on documented exit codes."""
    output = CliRunner().invoke(main, ["--help"]).output
    for line in ("0  done", "1  it did not work", "2  it cannot work as called"):
        assert line in output


def test_help_loads_nothing_heavy_when_asked() -> None:
    """Help is quick: neither gRPC nor the database driver nor pydantic is loaded for it."""
    program = (
        "import sys, cli.main\n"
        "heavy = {'grpc', 'asyncpg', 'pydantic', 'google.protobuf', 'asyncio', 'yaml', 'httpx', 'nacl'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


def test_usage_error_ends_with_two_when_an_option_is_wrong() -> None:
    """A wrong address is a usage error that says what a right one looks like."""
    answer = CliRunner().invoke(main, ["up", "--http", "8080"])
    assert answer.exit_code == 2
    assert "127.0.0.1:8080" in answer.output


def test_argument_that_is_no_text_is_a_usage_error() -> None:
    """Bytes that are not UTF-8, which Python hands over as half of characters, are told by their place."""
    answer = CliRunner().invoke(main, ["key", "limits", "pk_\udcff"])
    assert answer.exit_code == 2
    assert "argument 3" in answer.output


def test_operator_command_ends_with_two_when_there_is_no_stack(tmp_path: Path) -> None:
    """A directory without a stack is refused in one line."""
    answer = CliRunner().invoke(main, ["project", "list", "--data", str(tmp_path)])
    assert answer.exit_code == 2
    assert answer.stderr == (
        f"sealgate: {tmp_path} is not a Sealgate data directory; give the one of `sealgate up` with --data\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "nothing to change: give --status, --modules or both"),
        (("--modules", " "), "at least one module stays"),
        (
            ("--modules", "wallet,casino"),
            "'casino' is no module: write some of wallet,trading,browser,signing",
        ),
        (("--modules", "wallet,"), "'' is no module"),
        (("--modules", "wallet,trading,wallet"), "'wallet' is there twice"),
        (("--status", "ASLEEP"), "'ACTIVE', 'PAST_DUE', 'SUSPENDED', 'CANCELLED'"),
    ],
)
def test_project_set_refuses_to_guess_what_is_meant(arguments: tuple[str, ...], complaint: str) -> None:
    """A usage error that says what there is to give; so is an id that is none."""
    project_id = "01890a5d-ac96-774b-bcce-b302099a8057"
    answer = CliRunner().invoke(main, ["project", "set", project_id, *arguments])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert complaint in answer.stderr
    nobody = CliRunner().invoke(main, ["project", "set", "shop", "--status", "ACTIVE"])
    assert (nobody.exit_code, "not a valid UUID" in nobody.stderr) == (2, True)


def test_migrate_keeps_the_password_to_itself_when_it_fails() -> None:
    """A DSN is never printed, whatever goes wrong with it."""
    for dsn in ("postgresql://u:planted-secret@127.0.0.1:1/x", "postgresql://u:planted-secret@[/x"):
        answer = CliRunner().invoke(main, ["migrate", "auth", "--dsn", dsn])
        assert answer.exit_code in (1, 2)
        assert answer.stderr.startswith("sealgate: the ")
        assert "planted-secret" not in answer.output
        assert len(answer.output.splitlines()) == 1


def test_config_check_accepts_when_the_file_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edge configuration that we ship can be used, from the top of the repository."""
    monkeypatch.chdir(ROOT)
    answer = CliRunner().invoke(main, ["config", "check", "deploy/edge.yaml"])
    assert (answer.exit_code, answer.output) == (0, "deploy/edge.yaml is a usable edge configuration\n")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("gen/sealgate.binpb", "gen/nothing.binpb", "gen/nothing.binpb cannot be read"),
        (
            "v1.TokenKeyService",
            "v1.TokenService",
            "sealgate.auth.v1.TokenService is not in gen/sealgate.binpb",
        ),
        ("v1.TokenKeyService", "v1.IdentityService", "has no method with a REST path"),
    ],
)
def test_config_check_refuses_what_would_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, complaint: str
) -> None:
    """What the file names is read too: a file that passes here can be started with."""
    monkeypatch.chdir(ROOT)
    file = tmp_path / "edge.yaml"
    file.write_text((ROOT / "deploy" / "edge.yaml").read_text(encoding="utf-8").replace(old, new))
    answer = CliRunner().invoke(main, ["config", "check", str(file)])
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"sealgate: {file} is no usable edge configuration: ")
    assert complaint in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_config_check_says_what_it_reads_when_it_is_given_a_service_s_file(tmp_path: Path) -> None:
    """The configuration of a service is none of the edge's, and the line says so."""
    file = tmp_path / "wallet.yaml"
    file.write_text("audience: local\n")
    answer = CliRunner().invoke(main, ["config", "check", str(file)])
    assert answer.exit_code == 2
    assert answer.stderr == f"sealgate: {file} is no usable edge configuration: audience: unknown field\n"


def test_config_check_names_the_member_when_it_is_unknown(tmp_path: Path) -> None:
    """What the edge would refuse is refused here, with the path of the member."""
    text = (ROOT / "deploy" / "edge.yaml").read_text(encoding="utf-8")
    bad = tmp_path / "edge.yaml"
    bad.write_text(text.replace("stat_prefix: public", "stat_prefix: public\n                surprise: 1"))
    answer = CliRunner().invoke(main, ["config", "check", str(bad)])
    assert answer.exit_code == 2
    assert "surprise: unknown field" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_key_create_makes_a_key_that_the_ring_takes(tmp_path: Path) -> None:
    """It says the key's name and file; the first signs at once, and a further one when all know it."""
    directory = tmp_path / "keys" / "passport"
    answers = [CliRunner().invoke(main, ["key", "create", str(directory)]) for _ in range(2)]
    ring = KeyRing.load(directory)
    assert len(ring.public_keys()) == 2
    for answer in answers:
        assert answer.exit_code == 0
        kid, file, _ = (line.split()[-1] for line in answer.output.splitlines())
        assert kid in ring.public_keys()
        assert Path(file) == directory / f"{kid}.json"
        assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    now_ns = SystemClock().now_ns()
    assert ring.signing_key(now_ns).kid in answers[0].output
    assert ring.signing_key(now_ns + SIGNING_KEY_LEAD_SECONDS * 10**9).kid in answers[1].output


@pytest.mark.parametrize("directory", ["/dev/null/keys", "/proc/sealgate"])
def test_key_create_ends_with_two_when_the_directory_cannot_be_written(directory: str) -> None:
    """One line with the system's reason; also root cannot write everywhere."""
    answer = CliRunner().invoke(main, ["key", "create", directory])
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"sealgate: cannot write to {directory}: ")
    assert len(answer.stderr.splitlines()) == 1


def test_refusal_is_told_in_the_words_of_the_command() -> None:
    """A field is called as the option is that fills it; the details stand for the code's text."""
    error = invalid("external_ref", "must not be empty")
    assert explain(error, {"external_ref": "--reference"}) == (
        "VALIDATION_ERROR: --reference: must not be empty"
    )
    assert explain(error) == "VALIDATION_ERROR: external_ref: must not be empty"
    of_list = invalid("modules[1]", "must be one of wallet, trading")
    assert explain(of_list, {"modules": "--modules"}) == (
        "VALIDATION_ERROR: --modules: must be one of wallet, trading"
    )
    assert explain(SealgateError(Code.DEPOSIT_CONFLICT)).startswith("DEPOSIT_CONFLICT: ")


@pytest.mark.parametrize("name", ["auth", "keys", "wallet", "edge"])
def test_serve_ends_with_two_when_the_configuration_is_bad(tmp_path: Path, name: str) -> None:
    """A process that cannot be configured says which file and ends."""
    config = tmp_path / "config.yaml"
    config.write_text("surprise: 1\n")
    command = (sys.executable, "-P", "-m", "cli.main", "serve", name, "--config", str(config))
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"sealgate: {config}: ")
    assert len(answer.stderr.splitlines()) == 1


def test_serve_names_the_member_whose_directory_has_no_key(tmp_path: Path) -> None:
    """And how to make a key there; the other directories are left alone."""
    for purpose in ("passport", "session"):
        create_key(tmp_path / purpose, bytes(32), 0)
    config = tmp_path / "auth.yaml"
    config.write_text(
        "audience: local\n"
        "database: {dsn: 'postgresql://nobody@127.0.0.1:1/nothing'}\n"
        "public: {address: '127.0.0.1:0'}\n"
        f"internal: 'unix:{tmp_path}/auth.sock'\n"
        f"keys_target: 'unix:{tmp_path}/keys.sock'\n"
        + "".join(f"{name}_key_dir: {tmp_path / name}\n" for name in ("passport", "session", "browser"))
    )
    command = (sys.executable, "-P", "-m", "cli.main", "serve", "auth", "--config", str(config))
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    browser = tmp_path / "browser"
    remedy = f"`sealgate key create {browser}` makes one"
    assert answer.stderr == f"sealgate: browser_key_dir: {browser}: no key files (*.json); {remedy}\n"
    assert answer.returncode == 2


def test_colour_is_only_used_when_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No escape codes in files and pipes, on terminals without any, nor where NO_COLOR asks for none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("x", "red", terminal=False) == "x"
    assert paint("x", "red", terminal=True) != "x"
    monkeypatch.setenv("TERM", "dumb")
    assert paint("x", "red", terminal=True) == "x"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", terminal=True) == "x"
