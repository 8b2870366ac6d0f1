"""What ``./dev measures`` counts, on a few lines whose figures are known."""

import textwrap

import pytest

from tests.project.measures import LAYERS, Measured, front_door, measured, percentile, rows


def of(text: str, module: str = "streams.some") -> Measured:
    found = Measured()
    found.add(module, textwrap.dedent(text))
    return found


def test_a_function_is_as_long_as_its_code() -> None:
    function = '''
        def carry(
            chunk: bytes,
        ) -> None:
            """Carry it.

            Args:
                chunk: of messages.
            """
            # Why it is done twice.
            push(chunk)

            push(chunk)
    '''
    assert of(function).functions == [2]


def test_comments_count_and_pragmas_do_not() -> None:
    text = """
        a = 1  # why it is one
        # why there are two
        b = 2  # noqa: E501 - long
        c = f()  # type: ignore[misc]
        d = "# no comment"
    """
    assert of(text).comments == 2
    assert of(text).code_lines == 4


@pytest.mark.parametrize(
    ("signature", "is_annotated"),
    [
        ("(self, a: int, *, b: str = '') -> None", True),
        ("(a: int, *args: int, **kwargs: str) -> int", True),
        ("(a) -> None", False),
        ("(a: int)", False),
        ("(*args) -> None", False),
    ],
)
def test_a_function_is_annotated_throughout_or_not(signature: str, is_annotated: bool) -> None:  # noqa: FBT001 - a table
    assert of(f"def f{signature}: ...").annotated == is_annotated


@pytest.mark.parametrize(
    ("module", "line", "climbing"),
    [
        ("streams.some", "from agents.parse import parse", 1),
        ("streams.some", "import tables", 1),
        ("tables.seen", "from agents import refine", 1),
        ("tables.seen", "from streams.models import Origin", 0),
        ("agents.refine", "from tables.seen import SeenTable", 0),
        ("streams.some", "import asyncio", 0),
    ],
)
def test_an_import_climbs_where_the_layer_is_a_higher_one(module: str, line: str, climbing: int) -> None:
    assert of(line, module).climbing == climbing


def test_a_broad_except_is_told_from_one_that_raises_again() -> None:
    text = """
        try: f()
        except Exception: pass
        try: f()
        except (ValueError, BaseException): g()
        try: f()
        except: raise
        try: f()
        except ValueError: pass
    """
    assert (of(text).swallowing, of(text).raising) == (2, 1)


def test_a_counter_that_is_named_by_a_literal_is_counted() -> None:
    text = """
        self._statistics.notes["records_cut"] += 1
        counts["accepted"] += 1
        notes[Note.RECORDS_CUT] += 1
        values["accepted"] += 1
    """
    assert of(text).literal_counters == 2


def test_what_an_import_builds_counts_where_it_is_of_another_module_of_ours() -> None:
    text = """
        import logging
        from streams.application import app
        from streams.laravel.push import RedisJobQueue as Queue
        log = logging.getLogger(__name__)
        queue = Queue.from_settings(3)
        app.use(queue)
        LIMIT = int("3")
        def later(): Queue()
    """
    assert of(text).built == 2


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (90, 9), (100, 10)])
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(percent: int, value: int) -> None:
    assert percentile(list(range(1, 11)), percent) == value


def test_the_table_has_a_figure_for_each_measure_of_this_repository() -> None:
    code = measured(LAYERS)
    assert len(code.files) > 200
    assert all(any(letter.isdigit() for letter in figure) for _, figure in rows(code, measured(["tests"])))


def test_the_first_code_of_the_front_door_is_the_line_within_its_fence() -> None:
    assert front_door("# name\n\ntext\n\n```sh\n./dev run\n```\n")[1] == "6, 7"
