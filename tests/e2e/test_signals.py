"""What each signal does."""
import os
import re
import signal
import time

import pytest

from support import procfs
from support.http import ProtocolError, request
from support.wait import SLOW, stays, until

pytestmark = pytest.mark.core


def test_term_finishes_running_requests(cserve):
    server = cserve(workers=2)
    with server.begin('/sleep?s=1') as c:
        server.signal(signal.SIGTERM)
        response = c.response()
        assert response.status == 200 and response.closes
        c.expect_close()
    assert server.wait_exit() == 0


def test_term_finishes_a_streamed_response(cserve):
    server = cserve()
    with server.connect() as c:
        c.send(request('/stream?n=10&size=100&pause=0.1'))
        assert c.has_news(5)
        server.signal(signal.SIGTERM)
        assert len(c.response().body) == 1000
    assert server.wait_exit() == 0


def test_term_answers_what_was_accepted(cserve):
    """A connection that has sent nothing yet when TERM comes still gets its one answer."""
    server = cserve()
    with server.connect() as c:
        server.signal(signal.SIGTERM)
        server.wait_for_log('stopping')
        assert not c.has_news(0.1 * SLOW)  # and the worker hears of it meanwhile
        c.send(request('/'))
        response = c.response()
        assert response.status == 200 and response.closes
    assert server.wait_exit() == 0


def test_a_client_that_never_closes_does_not_hold_up_a_stop(cserve):
    """It has its answer and was told that the connection closes; graceful_timeout is for requests."""
    server = cserve(settings={'graceful_timeout': '60'})
    with server.begin('/sleep?s=0.3') as c, server.connect() as silent:
        server.signal(signal.SIGTERM)
        assert c.response().status == 200
        assert server.wait_exit(30 * SLOW) == 0
        assert silent and 'graceful_timeout, ' not in server.log()


@pytest.mark.parametrize('name', ['INT', 'QUIT'])
def test_quick_stop_waits_for_nobody(cserve, name):
    server = cserve(workers=2)
    with server.begin('/sleep?s=20') as c:
        begin = time.monotonic()
        server.stop(getattr(signal, 'SIG' + name))
        assert time.monotonic() - begin < 3 * SLOW
        with pytest.raises((ProtocolError, ConnectionResetError)):
            c.response()


def test_a_second_term_is_quick(cserve):
    server = cserve()
    with server.begin('/sleep?s=20'):
        server.signal(signal.SIGTERM)
        stays(server.is_running, 'the graceful stop', 0.5)
        begin = time.monotonic()
        server.stop(signal.SIGTERM)
        assert time.monotonic() - begin < 3 * SLOW


def test_interrupt_from_a_terminal_reaches_everybody_and_stops_cleanly(cserve):
    """Ctrl-C goes to the whole foreground group."""
    server = cserve(workers=2)
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait_exit() == 0
    server.assert_nothing_left()
    assert 'Traceback' not in server.log()


def test_ttin_and_ttou_change_the_number_of_workers(cserve):
    server = cserve(workers=1)
    server.signal(signal.SIGTTIN)
    server.wait_workers(2)
    server.signal(signal.SIGTTIN)
    server.wait_workers(3)
    server.signal(signal.SIGTTOU)
    server.wait_workers(2)
    server.signal(signal.SIGTTOU)
    server.wait_workers(1)
    server.signal(signal.SIGTTOU)
    stays(lambda: len(server.workers()) == 1, 'the last worker', 0.5)
    assert server.get('/').status == 200


def test_ttou_lets_a_running_request_finish(cserve):
    server = cserve(workers=2)
    clients = [server.begin('/sleep?s=1') for _ in range(2)]
    server.signal(signal.SIGTTOU)
    for c in clients:
        assert c.response().status == 200
        c.close()
    server.wait_workers(1)


def test_usr1_reopens_the_logs(cserve):
    server = cserve(workers=2, settings={'errorlog': 'error.txt', 'accesslog': 'access.txt'}, wait=False)
    error, access = server.directory / 'error.txt', server.directory / 'access.txt'
    until(lambda: error.exists() and error.read_text().count('is ready') == 2, 'two ready workers')
    assert server.get('/first').status == 404
    until(lambda: access.exists() and '/first' in access.read_text(), 'the line of the first request')
    error.rename(error.with_suffix('.1'))
    access.rename(access.with_suffix('.1'))
    server.signal(signal.SIGUSR1)
    until(lambda: error.exists() and access.exists(), 'the new files')

    def goes_to_the_new_file():
        server.get('/second')
        time.sleep(0.01)
        return '/second' in access.read_text()
    until(goes_to_the_new_file, 'a line in the new file')

    def both_workers_use_the_new_files():
        wanted = {os.stat(error).st_ino, os.stat(access).st_ino}
        return all(wanted <= {os.stat(f'/proc/{p}/fd/{n}').st_ino for n in procfs.descriptors(p)} for p in server.workers())
    until(both_workers_use_the_new_files, 'both workers to use the new files')
    assert '/first' in access.with_suffix('.1').read_text()


def test_usr1_does_not_disturb_requests(cserve):
    server = cserve()
    with server.connect() as c:
        c.send(request('/sleep?s=0.5'))
        for _ in range(5):
            server.signal(signal.SIGUSR1)
            time.sleep(0.02)
        assert c.response().status == 200


@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD,
                                    signal.SIGPIPE], ids=lambda n: n.name)
def test_no_such_signal_kills_a_worker(cserve, number):
    server = cserve()
    pid = server.workers()[0]
    server.signal(number, pid)
    for _ in range(5):
        assert server.get('/').status == 200
    assert pid in server.workers()


def test_term_to_a_worker_makes_it_leave_gracefully_and_be_replaced(cserve):
    server = cserve(workers=1)
    old = server.workers()
    with server.begin('/sleep?s=0.7') as c:
        server.signal(signal.SIGTERM, old[0])
        assert c.response().status == 200
    server.wait_workers(1, without=old)
    assert server.get('/').status == 200


def test_programs_started_by_the_application_get_default_signals(cserve):
    """No blocked mask, no ignored signal leaks into them."""
    server = cserve(app='''
import subprocess
def application(environ, start_response):
    out = subprocess.run(['/bin/grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status'], stdout=subprocess.PIPE, restore_signals=False)
    start_response('200 OK', [])
    return [out.stdout]
''')
    masks = dict(re.findall(r'(Sig\w+):\s+([0-9a-f]+)', server.get('/').text))
    assert int(masks['SigBlk'], 16) == 0
    everything = (1 << 31) - 1  # without those that the C library keeps for itself
    assert int(masks['SigIgn'], 16) & everything & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0


def test_signals_in_a_storm_kill_nobody(cserve):
    server = cserve(workers=2)
    before = server.pid
    for i in range(60):
        server.signal([signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD, signal.SIGWINCH][i % 6])
        time.sleep(0.005)
    assert until(lambda: server.get('/').status == 200, 'an answer', 20 * SLOW)
    assert server.pid == before and server.is_running()
