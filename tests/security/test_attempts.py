from tmrld.security.attempts import Attempts, source_of


def test_a_source_waits_after_too_many_failures() -> None:
    attempts = Attempts(limit=3, window_s=60)
    for now in (0.0, 10.0, 20.0):
        assert attempts.wait_s("10.0.0.1", now) == 0
        attempts.failed("10.0.0.1", now)
    assert attempts.wait_s("10.0.0.1", 25.0) == 35
    assert attempts.wait_s("10.0.0.2", 25.0) == 0


def test_waiting_ends_when_the_oldest_failure_is_old_enough() -> None:
    attempts = Attempts(limit=2, window_s=60)
    attempts.failed("a", 0.0)
    attempts.failed("a", 30.0)
    assert attempts.wait_s("a", 59.0) == 1
    assert attempts.wait_s("a", 60.0) == 0
    attempts.failed("a", 60.0)
    assert attempts.wait_s("a", 60.0) == 30


def test_memory_is_bounded_and_forgets_the_quietest() -> None:
    attempts = Attempts(limit=1, window_s=60, most_sources=2)
    for source in ("a", "b", "a", "c"):
        attempts.failed(source, 0.0)
    assert [attempts.wait_s(source, 1.0) > 0 for source in ("a", "b", "c")] == [True, False, True]


def test_a_customers_addresses_are_one_source() -> None:
    assert source_of("10.0.0.1") == "10.0.0.1"
    assert source_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert source_of("2001:db8:1:2:3:4:5:6") == source_of("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert source_of("2001:db8:1:3::9") != source_of("2001:db8:1:2::9")
    assert source_of("memory") == "memory"
