"""Who leads, by what workers have logged."""

from tests.faults.stack import last_of

LOG = """\
[2026-11-26 11:10:32,807] [12411] [INFO] this worker now carries MQTT
[2026-11-26 11:11:44,999] [12411] [CRITICAL] We experienced a crash!
[2026-11-26 11:11:51,051] [12690] [INFO] Elected group leader
"""


def test_what_a_process_before_has_logged_makes_nobody_a_leader() -> None:
    assert "now carries" in last_of(LOG, 12411)
    assert last_of(LOG, 12690) == ""
    assert "no longer" in last_of(LOG + "[…] [12411] [INFO] this worker no longer carries MQTT\n", 12411)
