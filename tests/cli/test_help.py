"""First contact and help: what a newcomer types first must work, and every example must be real."""

import re
import shlex

import pytest
import typer

from segbench.cli.main import app
from tests.program import segbench

COMMANDS = [
    (),
    ("list",),
    ("show",),
    ("reproduce",),
    ("doctor",),
    ("eval",),
    ("export",),
    ("report",),
    ("explain",),
    ("explain-verdict",),
    ("compare",),
    ("cost",),
    ("audit",),
    ("claims",),
    ("show-predictions",),
    ("results",),
    ("results", "server-score"),
    ("data",),
    ("data", "list"),
    ("data", "download"),
    ("data", "verify"),
    ("data", "init"),
    ("data", "prepare"),
    ("weights",),
    ("weights", "list"),
    ("weights", "download"),
    ("weights", "convert"),
]


def examples(*command: str) -> list[list[str]]:
    text = segbench(*command, "--help").out
    block = re.search(r"Examples:\n((?: +segbench .*\n)+)", text)
    assert block, text
    return [shlex.split(line)[1:] for line in block.group(1).splitlines()]


def test_the_list_of_commands_is_complete() -> None:
    group = typer.main.get_command(app)
    found = {(name,) for name in group.commands}
    found |= {(name, sub) for name in ("data", "results", "weights") for sub in group.commands[name].commands}
    assert found | {()} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_leads_with_two_examples(command: tuple[str, ...]) -> None:
    done = segbench(*command, "--help")
    assert done.code == 0
    assert done.err == ""
    assert done.out.startswith(f"Usage: {' '.join(('segbench', *command))} ")
    assert done.out.index("Examples:") < done.out.index("Options:")
    assert len(examples(*command)) == 2
    assert max(map(len, done.out.splitlines())) <= 110
    assert segbench(*command, "-h").out == done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_valid_command_lines(command: tuple[str, ...]) -> None:
    for words in examples(*command):
        assert words[: len(command)] == list(command)
        entry, rest = typer.main.get_command(app), words
        while rest and rest[0] in getattr(entry, "commands", {}):
            entry, rest = entry.commands[rest[0]], rest[1:]
        entry.make_context("segbench", rest).close()


@pytest.mark.parametrize("command", [("list",), ("show",), ("report",), ("data", "list"), ("weights", "list")])
def test_examples_that_only_look_run(command: tuple[str, ...]) -> None:
    for words in examples(*command):
        assert segbench(*words).code == 0


def test_first_contact_names_commands_that_exist() -> None:
    done = segbench()
    assert done.code == 0
    assert done.out.startswith("segbench: does a published segmentation number hold, here?")
    named = re.findall(r"^  segbench (\S+)", done.out, flags=re.MULTILINE)
    assert named == ["list", "reproduce", "eval", "report", "--help"]
    assert segbench("data").out == segbench("data", "--help").out


def test_version() -> None:
    assert re.fullmatch(r"segbench \d+\.\d+\.\d+\n", segbench("--version").out)


@pytest.mark.parametrize(
    ("words", "says", "help_of"),
    [
        (["nosuch"], "nosuch", "segbench"),
        (["--nosuch"], "--nosuch", "segbench"),
        (["data", "nosuch"], "nosuch", "segbench data"),
        (["reproduce"], "TABLE[/ROW]", "segbench reproduce"),
        (["reproduce", "contextrast-table6", "--jsn"], "--json", "segbench reproduce"),
        (["reproduce", "contextrast-table6", "--seeds", "0"], "--seeds", "segbench reproduce"),
        (["reproduce", "contextrast-table6", "--seeds", "many"], "--seeds", "segbench reproduce"),
        (["reproduce", "contextrast-table6", "--seeds"], "--seeds", "segbench reproduce"),
        (["eval"], "--checkpoint", "segbench eval"),
        (["eval", "--checkpoint", "x", "--scale", "9"], "--scale", "segbench eval"),
        (["list", "one", "two"], "two", "segbench list"),
    ],
)
def test_misuse_is_one_line_and_the_way_to_the_help(words: list[str], says: str, help_of: str) -> None:
    done = segbench(*words)
    done.fails(2)
    assert says in done.lines[0]
    assert len(done.lines) == 2
    assert done.lines[1] == f"Next: {help_of} --help"
    assert done.out == ""
