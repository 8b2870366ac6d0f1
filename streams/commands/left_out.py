"""Faust's own commands that fail here or do harm: each is answered with one line."""

import click

LEFT_OUT = {
    "clean-versions": "there is nothing to clean, the table is kept in memory",
    "completion": "it needs a package that is not installed. Use: metric-streams completion",
    "livecheck": "it needs an application of another kind",
    "model": "the records are no Faust models. ARCHITECTURE.md says what the topics hold",
    "models": "the records are no Faust models. ARCHITECTURE.md says what the topics hold",
    "reset": (
        "it would change nothing but its own memory. A worker reads the table anew from its changelog topic "
        "whenever it starts: restart the worker"
    ),
    "send": (
        "what it writes is no record of ours, and would be rejected or skipped. Publish to the MQTT broker "
        "instead, or use: metric-streams simulate"
    ),
}
"""By name, what is said instead."""


def refusal(name: str) -> click.Command:
    """Return a hidden command that says why there is no such one, and ends with 2, as for any wrong use."""

    @click.pass_context
    def refuse(context: click.Context) -> None:
        click.echo(f"{context.command_path} is left out: {LEFT_OUT[name]}", err=True)
        context.exit(2)

    anything = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(name, callback=refuse, context_settings=anything, hidden=True)


def leave_out(group: click.Group) -> None:
    """Put the refusals in the place of Faust's commands."""
    for name in LEFT_OUT:
        group.add_command(refusal(name))
