"""The program: its commands, and what becomes of every error."""

import os
import sys
from typing import Annotated

import click
import typer

from segbench.core.errors import ExitCode, SegbenchError

from . import data, eval_, list_, report, reproduce, show

app = typer.Typer(
    name="segbench",
    no_args_is_help=False,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_.command)
app.command("show")(show.command)
app.command("reproduce")(reproduce.command)
app.command("eval")(eval_.command)
app.command("report")(report.command)
app.add_typer(data.app, name="data")

FIRST_CONTACT = """\
segbench: does a published segmentation number hold, here?
  segbench list                          papers, tables, rows, and what runs on this machine
  segbench reproduce contextrast-table6  run a table and compare it with the publication
  segbench eval --checkpoint FILE        score a checkpoint that segbench made
  segbench report --format markdown      the results so far
  segbench --help                        everything else"""


@app.callback()
def root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an expected failure too.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Does a published segmentation number hold, here, and if not, why?

    segbench list

    segbench reproduce contextrast-table6 --budget smoke
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
    """Entry point: every expected failure ends in one line a fault, then ``Next:``, and its exit code."""
    sys.exit(main(arguments))


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        done = app(arguments, standalone_mode=False)
        return int(done) if isinstance(done, int) else ExitCode.DONE
    except SegbenchError as error:
        return fail(error)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        say("Stopped at once. What was saved before is kept.", "the same command again")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.DONE
    except Exception:
        if os.environ.get("SEGBENCH_DEBUG"):
            raise
        import traceback

        traceback.print_exc()
        say("This is a bug of segbench, not of what you typed. The traceback above belongs into a report.")
        return ExitCode.BUG


def fail(error: SegbenchError) -> int:
    """Show an expected failure."""
    if os.environ.get("SEGBENCH_DEBUG"):
        import traceback

        traceback.print_exc()
    say(*error.faults, error.next)
    return error.exit_code


def say(*lines: str) -> None:
    """Faults and, last, the next command, on standard error."""
    *faults, next_command = lines if len(lines) > 1 else (*lines, "")
    for fault in faults:
        typer.echo(fault, err=True)
    if next_command:
        typer.echo(f"Next: {next_command}", err=True)
