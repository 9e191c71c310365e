"""Processes that die: workers are replaced and the log says why; without the arbiter nothing lives on."""
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from support import procfs
from support.http import ProtocolError, request
from support.wait import SLOW, until


@pytest.mark.core
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT], ids=lambda n: n.name)
def test_a_killed_worker_is_replaced(cserve, number, sanitized):
    server = cserve(workers=2)
    server.expect_sanitizer_report = number != signal.SIGKILL
    old = server.workers()
    server.signal(number, old[0])
    new = server.wait_workers(2, without=old[:1])
    assert old[1] in new
    assert server.get('/').status == 200
    how = 'exited with status' if sanitized and number == signal.SIGSEGV else number.name  # which the sanitizer catches
    server.wait_for_log(rf'worker 1 \(pid {old[0]}\)[^\n]*{how}')


def test_the_log_says_what_the_killed_worker_was_doing(cserve):
    server = cserve()
    pid = server.workers()[0]
    with server.begin('/sleep?s=20') as c:
        server.signal(signal.SIGKILL, pid)
        with pytest.raises((ProtocolError, ConnectionResetError)):
            c.response()
    server.wait_for_log(rf'worker 1 \(pid {pid}\) killed by SIGKILL while in the application: GET /sleep\?s=20, \d+\.\d s')


def test_the_log_says_which_status_a_worker_exited_with(cserve):
    server = cserve()
    pid = server.workers()[0]
    with server.connect() as c:
        c.send(request('/exit?code=7'))
        with pytest.raises((ProtocolError, ConnectionResetError)):
            c.response()
    server.wait_for_log(rf'worker 1 \(pid {pid}\) exited with status 7 while in the application: GET /exit\?code=7')


@pytest.mark.parametrize('code', [0, 1, 3, 4])
def test_an_application_that_exits_stops_nothing(cserve, code):
    """An exit code means 'failed to boot' only for a worker that was not ready."""
    server = cserve(workers=2)
    for _ in range(2):
        with server.connect() as c:
            c.send(request(f'/exit?code={code}'))
            with pytest.raises((ProtocolError, ConnectionResetError)):
                c.response()
    assert until(lambda: server.get('/').status == 200, 'an answer')
    server.wait_workers(2)
    assert server.is_running()


def test_the_access_log_has_the_line_that_the_dead_request_never_wrote(cserve):
    server = cserve(settings={'accesslog': '-'})
    with server.connect() as c:
        c.send(request('/exit?code=5'))
        with pytest.raises((ProtocolError, ConnectionResetError)):
            c.response()
    until(lambda: re.search(r'"GET /exit\?code=5 HTTP/1\.1" 502 ', server.stdout()), server.stdout)


GREEDY = '''
import subprocess, sys
EAT = 'x = []\\nwhile True: x.append(bytearray(b"x" * 1000000))'
def application(environ, start_response):
    if environ['PATH_INFO'] == '/export':
        exec(EAT)
    if environ['PATH_INFO'] == '/child':
        subprocess.run([sys.executable, '-c', EAT])
    start_response('200 OK', [])
    return [b'ok']
'''


@pytest.fixture
def small_group():
    """The procs file of a control group with little memory."""
    group, limit = _memory_group()
    group = group / f'cserve-test-{os.getpid()}'
    try:
        group.mkdir()
    except OSError:
        pytest.skip('no right to make a control group')
    try:
        (group / limit).write_text(str(150 << 20))
        for swap in ('memory.memsw.limit_in_bytes', 'memory.swap.max'):
            if (group / swap).exists():
                (group / swap).write_text('0' if swap.endswith('max') else str(150 << 20))
    except OSError:
        group.rmdir()
        pytest.skip('no right to limit a control group')
    yield group / 'cgroup.procs'
    until(lambda: not (group / 'cgroup.procs').read_text(), 'the end of all')
    group.rmdir()


def _memory_group():
    for line in Path('/proc/self/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if 'memory' in controllers.split(','):
            return Path('/sys/fs/cgroup/memory' + path), 'memory.limit_in_bytes'
    return Path('/sys/fs/cgroup' + path), 'memory.max'


@pytest.mark.root
def test_the_kernels_kills_for_memory_are_told_from_others(small_group, cserve, sanitized):
    if sanitized:
        pytest.skip('a sanitizer takes more memory than there is')
    server = cserve(app=GREEDY, preexec=lambda: small_group.write_text(str(os.getpid())), settings={'timeout': '0'})
    pid = server.workers()[0]
    with server.connect() as c:
        c.send(request('/export'))
        server.wait_for_log(rf'worker 1 \(pid {pid}\) killed by the kernel for memory while in the application: GET /export, \d+\.\d s; starting another',
                            deadline=30 * SLOW)
    other = server.wait_workers(1, without=[pid])[0]
    server.wait_for_log(rf'pid {other}\) is ready')
    server.signal(signal.SIGKILL, other)
    server.wait_for_log(rf'worker 1 \(pid {other}\) killed by SIGKILL')


def test_workers_that_die_young_come_back_with_back_off(cserve):
    server = cserve(workers=2)
    seen = set(server.workers())
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for pid in server.workers():
            seen.add(pid)
            try:
                server.signal(signal.SIGKILL, pid)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
    assert len(seen) < 60, f'{len(seen)} workers in 3 s'
    server.wait_workers(2, deadline=30 * SLOW)
    assert until(lambda: server.get('/').status == 200, 'an answer', 30 * SLOW)


def _busy(server, count):
    """Connections with a long request each."""
    return [server.begin('/sleep?s=30', timeout=20 * SLOW) for _ in range(count)]


@pytest.mark.core
@pytest.mark.parametrize('busy', [False, True], ids=['idle', 'busy'])
@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_without_the_arbiter_everything_is_gone_within_a_second(cserve, busy, preload):
    server = cserve(workers=3, settings={'preload_app': preload})
    clients = _busy(server, 3) if busy else []
    try:
        everybody = server.all_pids()
        assert len(everybody) >= 4 + preload
        begin = time.monotonic()
        server.signal(signal.SIGKILL)
        until(lambda: not any(procfs.is_alive(p) for p in everybody), 'the end of all processes')
        assert time.monotonic() - begin < 1 * SLOW
    finally:
        for c in clients:
            c.close()
    assert server.wait_exit() == 137


def test_after_the_arbiters_death_a_new_one_binds_at_once(cserve):
    server = cserve(workers=2)
    clients = _busy(server, 2)
    server.signal(signal.SIGKILL)
    server.wait_exit()
    for c in clients:
        c.close()
    mark = server.log_mark()
    server.start(wait=False)
    server.wait_ready(since=mark)
    assert server.get('/').status == 200


def test_a_spinning_worker_dies_with_the_arbiter(cserve):
    server = cserve(settings={'timeout': '0'})
    with server.begin('/spin?s=30'):
        everybody = server.all_pids()
        server.signal(signal.SIGKILL)
        until(lambda: not any(procfs.is_alive(p) for p in everybody), 'the end of all processes', 1.5 * SLOW)
    server.wait_exit()


def test_orphans_of_the_application_are_adopted_harmlessly(cserve):
    server = cserve(app='''
import os
def application(environ, start_response):
    if os.fork() == 0:
        if os.fork() == 0:
            os.execvp('sleep', ['sleep', '0.3'])
        os._exit(0)
    os.wait()
    start_response('200 OK', [])
    return [b'orphaned']
''')
    before = server.workers()
    for _ in range(5):
        assert server.get('/').body == b'orphaned'

    def zombies():
        return [p for p in procfs.children(server.pid) if (procfs.stat(p) or 'xZ')[1] == 'Z']
    until(lambda: len(procfs.children(server.pid)) == 1, 'the end of the orphans')
    assert zombies() == [] and server.workers() == before
    assert not server.log_lines(level='error') and not server.log_lines(level='warning')


def test_a_worker_that_leaves_a_child_behind_is_still_replaced(cserve):
    server = cserve(app='''
import os, subprocess
def application(environ, start_response):
    if environ['PATH_INFO'] == '/die':
        subprocess.Popen(['sleep', '1'])
        os.kill(os.getpid(), 9)
    start_response('200 OK', [])
    return [b'fine']
''')
    old = server.workers()
    with server.connect() as c:
        c.send(request('/die'))
        with pytest.raises((ProtocolError, ConnectionResetError)):
            c.response()
    server.wait_workers(1, without=old)
    assert server.get('/').body == b'fine'
    server.stop()


@pytest.mark.core
def test_the_arbiter_survives_a_worker_that_scribbles_on_everything_it_can_reach(cserve):
    """An application cannot take the arbiter down: closes every descriptor, kills its group mates' pipes, dies."""
    server = cserve(app='''
import os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/close':
        os.closerange(0, 1024)
        os._exit(1)
    start_response('200 OK', [])
    return [b'fine']
''')
    for _ in range(2):
        old = server.workers()
        with server.connect() as c:
            c.send(request('/close'))
            with pytest.raises((ProtocolError, ConnectionResetError)):
                c.response()
        server.wait_workers(1, without=old, deadline=20 * SLOW)
    assert until(lambda: server.get('/').body == b'fine', 'an answer', 20 * SLOW)


def test_no_log_text_reaches_a_client_when_the_application_closes_descriptors(cserve):
    server = cserve(app='''
import os, sys
def application(environ, start_response):
    if environ['PATH_INFO'] == '/close':
        os.closerange(0, 3)
    if environ['PATH_INFO'] == '/print':
        print('SECRET on stdout', flush=True)
        sys.stderr.write('SECRET on stderr\\n')
        environ['wsgi.errors'].write('SECRET in errors\\n')
    if environ['PATH_INFO'] == '/raise':
        raise RuntimeError('SECRET in an exception')
    start_response('200 OK', [])
    return [b'fine']
''')
    clients = [server.connect() for _ in range(5)]
    try:
        assert server.get('/close').status == 200
        clients += [server.connect() for _ in range(10)]
        for _ in range(3):
            server.get('/print')
            server.get('/raise')
        for c in clients:
            assert b'SECRET' not in c.get('/').body
            assert not c.has_news()
    finally:
        for c in clients:
            c.close()


def test_a_closed_listener_leaves_siblings_serving(cserve):
    server = cserve(app='''
import os, socket
def application(environ, start_response):
    if environ['PATH_INFO'] == '/close':
        for fd in range(3, 256):
            try:
                if socket.socket(fileno=os.dup(fd)).getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    os.close(fd)
            except OSError:
                pass
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
''', workers=2)
    server.get('/close')
    assert {server.get('/').status for _ in range(20)} == {200}


def test_connection_refused_once_all_is_gone(cserve):
    server = cserve()
    server.stop()
    with socket.socket() as s, pytest.raises(ConnectionRefusedError):
        s.connect(server.address)


def test_unknown_children_are_reaped(cserve):
    """As pid 1 in a container would get them: a child that the arbiter never made."""
    server = cserve(prefix=['/bin/sh', '-c', 'sleep 0.2 & exec "$@"', 'sh'])
    until(lambda: len(procfs.children(server.pid)) == 1, 'the stranger to be reaped')
    assert server.get('/').status == 200
    assert not server.log_lines(level='error')
    assert os.path.exists(f'/proc/{server.pid}')


def test_once_up_the_arbiter_never_gives_up(cserve):
    """The code on disk breaks, then all workers die: no exit status, but back-off until the code is mended."""
    text = 'def application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"fine"]\n'
    server = cserve(app=text, workers=2)
    server.write_app('1 / 0\n')
    for pid in server.workers():
        server.signal(signal.SIGKILL, pid)
    server.wait_for_log('ZeroDivisionError')
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert server.is_running()
        time.sleep(0.05)
    assert server.log().count('ZeroDivisionError') < 12, 'no back-off'
    server.write_app(text)

    def answers():
        try:
            return server.get('/').body == b'fine'
        except (OSError, ProtocolError):
            return False
    until(answers, 'an answer', 60 * SLOW)
    server.wait_workers(2, deadline=60 * SLOW)


def test_a_worker_that_is_killed_takes_no_line_of_the_access_log_along(cserve):
    server = cserve(workers=1, settings={'accesslog': '-'})
    with server.connect() as c:
        for i in range(50):
            c.get(f'/?n={i}')
        server.signal(signal.SIGKILL, server.workers()[0])
    until(lambda: all(f'?n={i} ' in server.stdout() for i in range(50)), server.stdout)
