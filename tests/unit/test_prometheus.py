from streams.web.prometheus import Family, render


def test_a_family_is_a_help_line_a_type_line_and_a_line_for_each_sample() -> None:
    families = [
        Family("rows_total", "counter", "rows written", samples={"": 12_345_678}),
        Family("part_up", "gauge", "1 if it answers", "part", {"redis": 1, "postgres": 0}),
    ]
    assert render(families) == (
        "# HELP rows_total rows written\n"
        "# TYPE rows_total counter\n"
        "rows_total 12345678\n"
        "# HELP part_up 1 if it answers\n"
        "# TYPE part_up gauge\n"
        'part_up{part="redis"} 1\n'
        'part_up{part="postgres"} 0\n'
    )


def test_a_family_without_a_sample_is_left_out() -> None:
    assert render([Family("part_up", "gauge", "1 if it answers", "part", {})]) == ""


def test_a_time_keeps_its_fraction() -> None:
    assert render([Family("t", "gauge", "a time", samples={"": 1_795_000_000.25})]).endswith(
        "\nt 1795000000.25\n"
    )
