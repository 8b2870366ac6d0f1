"""The command line ``metric-streams``: that of ``faust -A streams``, from the installed package alone.

The commands are Faust's own objects, so that both ways of calling them are the same. They are imported when
one is asked for: help and version need no settings.
"""

from contextlib import nullcontext, redirect_stderr
from io import StringIO
from typing import Any, cast

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from streams.commands.left_out import LEFT_OUT, refusal
from streams.version import PRODUCT, product_version

COMMANDS = {
    "worker": "Carry messages from MQTT to the job queue.",
    "ingest": "Run the jobs of the queue, where Laravel does not.",
    "setup": "Create the topics and, with --database, the tables.",
    "tenants": "List the tenants, add one, remove one.",
    "doctor": "Look at every part, and say what mends what is broken.",
    "tail": "Show the messages of raw, unique or rejected as they come.",
    "top": "Show what flows through each stage.",
    "trace": "Follow one message from the device to its row.",
    "explain": "Say what would become of a message, and why.",
    "devices": "List when devices were heard last.",
    "partitions": "Add partitions to the topics, while the workers are stopped.",
    "provision": "Let devices in to a Mosquitto with dynamic security.",
    "rejected": "List what was rejected, put it back, or dismiss it.",
    "simulate": "Publish as devices would.",
    "agents": "List the agents and the topics that they read.",
    "tables": "List the tables.",
    "completion": "Print the script for the completion of bash, zsh or fish.",
}
"""Each with its line in the help."""

COMPLETION_VARIABLE = "_METRIC_STREAMS_COMPLETE"  # by which click's scripts call the program

LEVELS = click.Choice(["crit", "error", "warn", "info", "debug"], case_sensitive=False)


class Program(click.Group):
    """The group of all commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where nothing is asked for."""
        # The shell asks without arguments as well, to complete: it must get no help.
        if not args and not ctx.resilient_parsing:
            click.echo(self.get_help(ctx))
            ctx.exit()
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Hand the options to Faust, then find the command and run it."""
        hand_over(ctx, **ctx.params)
        return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if there is none of this name."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name in LEFT_OUT:
            return refusal(cmd_name)
        return registered(ctx, cmd_name) if cmd_name in COMMANDS else None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, without importing it, and then the options."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        click.Command.format_options(self, ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, without importing any."""
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name]) for name in names]
        return items + click.Command.shell_complete(self, ctx, incomplete)


def registered(ctx: click.Context, name: str) -> click.Command | None:
    """Return a command as Faust knows it once the app is there.

    Raises:
        SystemExit: the settings are not usable; not while the shell completes a line, which it would garble.
    """
    try:
        with redirect_stderr(StringIO()) if ctx.resilient_parsing else nullcontext():
            from streams import app  # noqa: PLC0415 - needs the settings
    except SystemExit:
        if ctx.resilient_parsing:
            # A name that cannot be completed is better than an error in the middle of the line.
            return None
        raise
    from faust.cli.base import prepare_app  # noqa: PLC0415 - slow, and the help does without
    from faust.cli.faust import cli  # noqa: PLC0415

    ctx.find_root().app = prepare_app(app, "streams")  # type: ignore[attr-defined] # where Faust's commands look
    found: click.Command | None = cli.commands.get(name)
    return found


def hand_over(
    ctx: click.Context,
    *,
    loglevel: str | None,
    logfile: str | None,
    blocking_timeout: float | None,
    console_port: int | None,
    **options: Any,
) -> None:
    """Put the program's options where Faust's commands look for them."""
    from faust.cli.base import State, _prepare_cli  # noqa: PLC0415 - slow, and the help does without

    root: Any = ctx.find_root()
    root.app, root.stdout, root.stderr, root.side_effects = None, None, None, True
    state = ctx.ensure_object(State)
    state.loglevel, state.logfile = loglevel, logfile
    state.blocking_timeout, state.console_port = blocking_timeout, console_port
    _prepare_cli(ctx, app=None, **options)


DIRECTORY = click.Path(exists=True, file_okay=False, writable=True)


@click.group(cls=Program, name=PRODUCT)
@click.option("-l", "--loglevel", type=LEVELS, help="How much is logged.  [default: as the command says]")
@click.option("-f", "--logfile", type=click.Path(dir_okay=False), help="Where to log, instead of stderr.")
@click.option("--json", is_flag=True, help="Print JSON, where a command prints a table.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the log.")
@click.option("-W", "--workdir", type=DIRECTORY, help="Directory to change to first.")
@click.option("-D", "--datadir", type=DIRECTORY, help="Directory that Faust may use, instead of one in /tmp.")
@click.option("-L", "--loop", type=click.Choice(["aio", "uvloop"]), default="aio", help="Event loop.")
@click.option("--debug", is_flag=True, hidden=True)
@click.option("--blocking-timeout", type=float, hidden=True)
@click.option("--console-port", type=int, hidden=True)
@click.version_option(product_version(), message="%(prog)s %(version)s")
def program(**_: Any) -> None:
    """Carry MQTT metrics into the Laravel ingestion job.

    Settings come from the environment; .env.example lists them.

    More on a command: metric-streams COMMAND --help
    """


@program.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script for the completion of a shell.

    For bash: put  eval "$(metric-streams completion bash)"  into ~/.bashrc
    """
    found = cast("type[ShellComplete]", get_completion_class(shell))  # click has each of the three
    click.echo(found(program, {}, PRODUCT, COMPLETION_VARIABLE).source())


def run() -> None:
    """Run the command line, and end the process."""
    program(prog_name=PRODUCT, complete_var=COMPLETION_VARIABLE)
