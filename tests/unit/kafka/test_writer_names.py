from streams.kafka.writer_names import new_writer


def test_no_two_writers_have_one_name() -> None:
    assert len({new_writer() for _ in range(100)}) == 100
