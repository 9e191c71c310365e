"""Applications that hang: `timeout` names what hung, shows the Python stack, kills, and replaces."""
import re
import signal
import time

import pytest

from support.http import ProtocolError, request
from support.wait import SLOW

HANGS = '''
import ctypes, threading, time, os, subprocess

lock = threading.Lock()
lock.acquire()

def hang_in_sleep():
    time.sleep(60)

def hang_in_lock():
    lock.acquire()

def hang_in_spin():
    while True:
        pass

def hang_in_c():
    ctypes.PyDLL(None).sleep(60)      # PyDLL: holds the GIL

def hang_in_child():
    subprocess.run(['sleep', '4'])  # outlives its parent: an application's child is its own affair

def application(environ, start_response):
    path = environ['PATH_INFO'][1:]
    if path.startswith('hang'):
        globals()[path]()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
'''
KINDS = ['sleep', 'lock', 'spin', 'c', 'child']


def _hang(server, path):
    """Sends a request that hangs; the status that came, or None if the connection just ended."""
    with server.connect(timeout=20 * SLOW) as c:
        c.send(request(path))
        try:
            return c.response().status
        except (ProtocolError, ConnectionResetError):
            return None


@pytest.mark.core
@pytest.mark.parametrize('kind', KINDS)
def test_the_log_names_worker_method_path_and_seconds(cserve, kind):
    server = cserve(app=HANGS, settings={'timeout': '1'})
    pid = server.workers()[0]
    status = _hang(server, f'/hang_in_{kind}?a=b')
    assert status in (504, None)
    match = server.wait_for_log(rf'worker 1 \(pid {pid}\)[^\n]*timeout[^\n]*GET /hang_in_{kind}\?a=b[^\n]*?(\d+\.\d) s')
    assert 0.9 <= float(match.group(1)) < 3 * SLOW


@pytest.mark.core
@pytest.mark.parametrize('kind', KINDS)
def test_the_python_stack_is_in_the_log(cserve, kind):
    server = cserve(app=HANGS, settings={'timeout': '1'})
    _hang(server, f'/hang_in_{kind}')
    server.wait_for_log(rf'File ".*app\.py", line \d+ in hang_in_{kind}\n')
    server.wait_for_log(r'File ".*app\.py", line \d+ in application')


@pytest.mark.parametrize('kind', KINDS)
def test_the_worker_is_replaced_within_a_second_of_the_deadline(cserve, kind):
    server = cserve(app=HANGS, settings={'timeout': '1'})
    old = server.workers()
    begin = time.monotonic()
    with server.connect(timeout=20 * SLOW) as c:
        c.send(request(f'/hang_in_{kind}'))
        server.wait_workers(1, without=old)
        response = server.get('/', )
        took = time.monotonic() - begin
        assert response.status == 200
        assert took < 1 + 1.6 * SLOW, f'{took:.1f} s after the request'  # imports and boots, too


def test_siblings_are_unaffected(cserve):
    server = cserve(app=HANGS, workers=3, settings={'timeout': '1'})
    before = set(server.workers())
    with server.connect(timeout=20 * SLOW) as hung:
        hung.send(request('/hang_in_spin'))
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            begin = time.monotonic()
            assert server.get('/').status == 200
            assert time.monotonic() - begin < 1 * SLOW
    after = set(server.wait_workers(3))
    assert len(before & after) == 2


def test_the_client_gets_504_or_the_end_of_the_connection(cserve):
    server = cserve(app=HANGS, workers=2, settings={'timeout': '600ms'})
    with server.connect(timeout=20 * SLOW) as c:
        c.send(request('/hang_in_sleep'))
        response = c.response()
        assert response.status == 504 and response.closes


def test_a_timeout_within_a_streamed_response_never_writes_a_status_line_into_it(cserve):
    server = cserve(app='''
import time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'beginning'
    time.sleep(60)
''', settings={'timeout': '600ms'})
    with server.connect(timeout=20 * SLOW) as c:
        c.send(request('/'))
        try:
            data = c.rest()
        except ConnectionResetError:
            data = c.stream.buffer
        assert data.count(b'HTTP/1.1') == 1 and b'504' not in data
        assert not data.endswith(b'0\r\n\r\n'), 'a cut body must not look whole'


def test_a_request_that_is_done_in_time_resets_the_clock(cserve):
    server = cserve(settings={'timeout': '1'})
    pid = server.workers()
    with server.connect() as c:
        for _ in range(6):
            assert c.get('/sleep?s=0.4').status == 200
    assert server.workers() == pid


def test_an_idle_worker_never_times_out(cserve):
    server = cserve(settings={'timeout': '300ms'})
    pid = server.workers()
    with server.connect() as c:
        assert c.get('/').status == 200
        assert not c.has_news(1.2)
        assert c.get('/').status == 200
    assert server.workers() == pid


def test_timeout_0_means_none(cserve):
    server = cserve(settings={'timeout': '0'})
    assert server.get('/sleep?s=1.5').status == 200


def test_waiting_for_a_slow_client_is_not_time_in_the_application(cserve):
    server = cserve(settings={'timeout': '600ms', 'body_timeout': '10'})
    pid = server.workers()
    with server.connect() as c:
        c.send(request('/echo', 'Content-Length: 3', method='POST'))
        assert not c.has_news(1.2)
        c.send(b'abc')
        assert c.response().body == b'abc'
    assert server.workers() == pid


def test_an_application_that_ignores_sigabrt_is_killed(cserve):
    server = cserve(app='''
import signal, time
def application(environ, start_response):
    if environ['PATH_INFO'] == '/hang':
        signal.signal(signal.SIGABRT, signal.SIG_IGN)
        time.sleep(60)
    start_response('200 OK', [])
    return [b'fine']
''', settings={'timeout': '500ms'})
    old = server.workers()
    _hang(server, '/hang')
    server.wait_workers(1, without=old)
    assert server.get('/').body == b'fine'


def test_a_stopped_server_group_does_not_kill_healthy_workers(cserve):
    """SIGSTOP and SIGCONT of everybody, as when a machine sleeps: nobody is judged by time that did not pass for them."""
    server = cserve(workers=2, settings={'timeout': '1'})
    before = server.workers()
    with server.begin('/sleep?s=0.3') as c:
        group = [server.pid, *before]
        for pid in group:
            server.signal(signal.SIGSTOP, pid)
        time.sleep(1.8)  # longer than timeout: that is the point
        for pid in reversed(group):
            server.signal(signal.SIGCONT, pid)
        assert c.response().status == 200
    assert server.workers() == before
    assert not re.search('exceeds timeout', server.log())


def test_a_hang_at_exit_is_killed_at_the_end_of_graceful_timeout(cserve):
    server = cserve(settings={'graceful_timeout': '700ms', 'timeout': '0'})
    with server.begin('/sleep?s=30', timeout=20 * SLOW):
        begin = time.monotonic()
        server.stop()
        assert 0.5 < time.monotonic() - begin < 4 * SLOW
    server.wait_for_log(r'graceful_timeout[^\n]*GET /sleep\?s=30')
