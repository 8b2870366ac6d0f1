"""Names of parameters in the list of tests."""

LONGEST = 40


def named(value: object) -> str:
    """Name a parameter on one short line.

    Not by the code under test: a mutant of that would name the tests otherwise, and they would not be found.
    """
    if isinstance(value, int) and value.bit_length() > 4 * LONGEST:
        return "a large integer"  # of some, Python refuses to write out the digits
    return repr(value)[:LONGEST]
