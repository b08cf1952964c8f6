"""The program: its commands, and the handling of every error."""

import os
import shlex
import signal
import sys
from typing import Annotated

import typer

from segbench.core.errors import ExitCode, InvalidFault, SegbenchError, first_line

from . import (
    audit,
    claims,
    compare,
    cost,
    data,
    doctor,
    explain,
    explain_verdict,
    export,
    list_,
    report,
    reproduce,
    results,
    show,
    show_predictions,
    weights,
)
from . import eval as eval_

FIRST_CONTACT = """\
segbench: does a published segmentation number hold, here?
  segbench list                          papers, tables, rows, and what runs on this machine
  segbench reproduce contextrast-table6  run a table and compare it with the publication
  segbench eval --checkpoint FILE        score any checkpoint
  segbench report --format markdown      the results so far
  segbench --help                        everything else"""

# Newer versions of Typer bring their own copy of click; this is the base of its usage errors in either case.
_USAGE_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_COMPLETION = "_SEGBENCH_COMPLETE"

app = typer.Typer(
    name="segbench",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it fits narrow terminals, pipes well and imports nothing
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command("list")(list_.command)
app.command("show")(show.command)
app.command("reproduce")(reproduce.command)
app.command("eval")(eval_.command)
app.command("report")(report.command)
app.command("explain")(explain.command)
app.command("explain-verdict")(explain_verdict.command)
app.command("compare")(compare.command)
app.command("cost")(cost.command)
app.command("audit")(audit.command)
app.command("claims")(claims.command)
app.command("show-predictions")(show_predictions.command)
app.command("export")(export.command)
app.command("doctor")(doctor.command)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(results.app, name="results")


@app.callback()
def root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an expected failure too.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Does a published segmentation number hold, here, and if not, why?

    \b
    Examples:
      segbench list
      segbench reproduce contextrast-table6 --budget smoke

    \b
    Words:
      reading    an answer to a point that a publication leaves open
      budget     a scaling of a protocol: full (as published), small or smoke
      deviation  a difference between what ran and the published protocol
      verdict    what the results say of a printed figure
    """
    if debug:
        os.environ["SEGBENCH_DEBUG"] = "1"
    if version:
        from segbench import __version__

        typer.echo(f"segbench {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(FIRST_CONTACT)


def run(arguments: list[str] | None = None) -> None:
    """Run the program: an expected failure ends in one line a fault, then ``Next:``, and its exit code."""
    try:
        code = main(arguments)
    except KeyboardInterrupt:  # pressed again while `main` reports how it ended
        code = ExitCode.INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a traceback of the interpreter's own end helps nobody
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = _invoke(words)
        sys.stdout.flush()  # a reader that has gone away is noticed here, not while the interpreter ends
        return code
    except SegbenchError as error:
        return _expected(error, words)
    except typer.Exit as error:
        return error.exit_code
    except _USAGE_ERROR as error:
        return _misused(error, words)
    except (KeyboardInterrupt, typer.Abort):
        say("Stopped at once. What was saved before is kept.", "the same command again")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # `segbench list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:
        from segbench.core.registry import failed_entry

        if failed := failed_entry(error):
            fault = InvalidFault(f"The {failed}: {first_line(error, named=True)}.", next=_with_traceback(words))
            return _expected(fault.with_traceback(error.__traceback__), words)
        if os.environ.get("SEGBENCH_DEBUG"):
            raise
        import traceback

        traceback.print_exc()
        say("This is a bug of segbench. Please report it with the traceback above.")
        return ExitCode.BUG


def _invoke(arguments: list[str]) -> int:
    if _COMPLETION in os.environ:
        app(prog_name="segbench", complete_var=_COMPLETION)
    command = typer.main.get_command(app)
    with command.make_context("segbench", list(arguments)) as context:
        command.invoke(context)
    return ExitCode.DONE


def _expected(error: SegbenchError, words: list[str]) -> int:
    if os.environ.get("SEGBENCH_DEBUG"):
        import traceback

        traceback.print_exc()
    say(*error.faults, error.next or f"{_command_path(words)} --help")
    return error.exit_code


def _with_traceback(words: list[str]) -> str:
    return shlex.join(["segbench", "--debug", *(word for word in words if word != "--debug")])


def _misused(error: Exception, words: list[str]) -> int:
    """Print what is wrong with an option or command, and return the exit code."""
    sentence = " ".join(error.format_message().split()) if hasattr(error, "format_message") else str(error)
    say(sentence if sentence.endswith((".", "?", "!")) else f"{sentence}.", f"{_command_path(words)} --help")
    return ExitCode.USAGE


def _command_path(words: list[str]) -> str:
    """Return the command that was typed, without its arguments: ``segbench data verify``."""
    command, path = typer.main.get_command(app), ["segbench"]
    for word in words:
        if word in getattr(command, "commands", {}):
            command = command.commands[word]  # type: ignore[attr-defined]
            path.append(word)
    return " ".join(path)


def say(*lines: str) -> None:
    """Print faults and, last, the next command on standard error."""
    *faults, next_command = lines if len(lines) > 1 else (*lines, "")
    for fault in faults:
        typer.echo(fault, err=True)
    if next_command:
        typer.echo(f"Next: {next_command}", err=True)
