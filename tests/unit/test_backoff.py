from itertools import islice

from streams.backoff import delays


def test_waits_double_up_to_the_most_and_lie_within_half_of_it() -> None:
    longest = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    for _ in range(100):
        waits = list(islice(delays(0.1, 2.0), len(longest)))
        assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True))
