"""Waiting for events with a deadline. Nothing in the tests sleeps for a fixed time and hopes."""
import os
import time

# cserve takes every CSERVE_* for a setting: programs that a test starts without the fixture must not inherit ours.
for _name in [n for n in os.environ if n.startswith('CSERVE_TEST_')]:
    os.environ['E2E' + _name[len('CSERVE_TEST'):]] = os.environ.pop(_name)
SLOW = float(os.environ.get('E2E_SLOW', '1'))
LONG = bool(os.environ.get('E2E_LONG'))
DEADLINE = 10 * SLOW


class DeadlinePassed(AssertionError):
    pass


def until(condition, what, deadline=DEADLINE, interval=0.01):
    """The first true value of condition(); DeadlinePassed, naming `what`, when none comes."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise DeadlinePassed(f'waited {deadline:g} s in vain for {what() if callable(what) else what}')
        time.sleep(interval)


def stays(condition, what, seconds):
    """Asserts that condition() holds for the whole time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f'{what} did not last {seconds:g} s'
        time.sleep(0.02)
