from pathlib import Path

from streams.settings import Settings, render_example

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_the_example_is_what_the_settings_say() -> None:
    render = (
        "python -c 'from streams.settings import render_example as r; print(r(), end=\"\")' > .env.example"
    )
    assert EXAMPLE.read_text() == render_example(), f"run: {render}"


def test_the_example_is_itself_a_usable_environment_with_the_defaults() -> None:
    lines = (line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#"))
    environment = dict(line.split("=", maxsplit=1) for line in lines)
    assert Settings.from_mapping(environment) == Settings.from_mapping({})
