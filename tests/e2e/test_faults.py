"""System calls that fail, made to fail by strace: the arbiter survives each, workers serve on as soon as they can."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from support import procfs
from support.http import request
from support.wait import SLOW, stays, until

pytestmark = pytest.mark.skipif(not shutil.which('strace'), reason='strace is not installed')


def tracer_of(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(re.search(r'TracerPid:\s+(\d+)', f.read()).group(1))


class Fault:
    """While the context lasts, these system calls of the process fail that way."""

    def __init__(self, pid, calls, error, when='', path=None, children=False):
        self.pid = pid
        self.command = ['strace', '-qq', '-o', '/dev/null', '-p', str(pid), '-e', f'trace={calls}', '-e', f'inject={calls}:error={error}{when}']
        if path:
            self.command += ['-P', str(path)]
        if children:
            self.command += ['-f']

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: tracer_of(self.pid) or self.process.poll() is not None, 'strace')
        if self.process.poll() is not None:
            pytest.skip('strace may not attach here')
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def answers(server):
    try:
        return server.get('/').status == 200
    except OSError:
        return False


@pytest.mark.parametrize('error', ['EAGAIN', 'ENOMEM'])
def test_fork_fails(cserve, error):
    server = cserve(workers=2)
    old = server.workers()
    with Fault(server.pid, 'clone,clone3,fork,vfork', error):
        server.signal(signal.SIGKILL, old[0])
        server.wait_for_log(r'cannot fork worker 1')
        stays(server.is_running, 'the arbiter', 0.7)
        assert answers(server)
        assert server.log().count('cannot fork') < 20, 'no back-off'
    server.wait_workers(2, without=old[:1], deadline=30 * SLOW)


def test_fork_fails_during_a_reload(cserve):
    server = cserve(workers=2, settings={'boot_timeout': '2'})
    before = server.workers()
    with Fault(server.pid, 'clone,clone3,fork,vfork', 'EAGAIN'):
        server.signal(signal.SIGHUP)
        server.wait_for_log('cannot fork')
        assert answers(server)
    server.wait_for_log('reloaded|reload failed', deadline=30 * SLOW)
    assert answers(server) and server.is_running()
    assert server.wait_workers(2) and before


@pytest.mark.parametrize('error', ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'ECONNABORTED', 'EPROTO', 'EINTR', 'EPERM'])
def test_accept_fails(cserve, error):
    server = cserve()
    worker = server.workers()[0]
    with Fault(worker, 'accept4,accept', error):
        waiting = server.connect()
        waiting.send(b'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
        before = procfs.cpu_seconds(worker)
        time.sleep(1)  # the thing looked at is a second of failing
        assert not waiting.has_news()
    assert waiting.final().status == 200
    waiting.close()
    assert server.workers() == [worker]
    if error in ('EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'):
        assert procfs.cpu_seconds(worker) - before < 0.7 * SLOW
        server.wait_for_log('cannot accept connections')


@pytest.mark.parametrize('error', ['ENOSPC', 'EIO', 'EAGAIN', 'EFBIG'])
def test_writing_the_log_fails(cserve, error):
    server = cserve(workers=1, settings={'errorlog': 'error.txt', 'accesslog': 'access.txt'}, wait=False)
    until(lambda: answers(server), 'an answer')
    old = server.workers()
    with Fault(server.pid, 'write,writev,pwrite64', error, path=server.directory / 'error.txt'):
        server.signal(signal.SIGTTIN)
        server.wait_workers(2)
        assert answers(server)
    with Fault(old[0], 'write,writev,pwrite64', error, path=server.directory / 'access.txt'):
        assert answers(server)
        assert answers(server)
    size = (server.directory / 'error.txt').stat().st_size
    server.signal(signal.SIGTTOU)
    server.wait_workers(1)
    assert (server.directory / 'error.txt').stat().st_size > size, 'nothing is logged any more'
    assert server.is_running()


@pytest.mark.parametrize('calls', ['pipe2', 'socket,socketpair', 'open,openat', 'mmap,brk', 'fstat,newfstatat,stat'])
@pytest.mark.parametrize('error', ['EMFILE', 'ENOMEM', 'EIO'])
def test_the_arbiter_reloads_while_everything_fails(cserve, calls, error, sanitized):
    """A reload may fail; the arbiter may not."""
    if sanitized and 'mmap' in calls:
        pytest.skip('a sanitizer cannot live without mmap')
    server = cserve(app='def application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"ok"]\n',
                    workers=1, settings={'boot_timeout': '1', 'accesslog': 'access.txt'})
    with Fault(server.pid, calls, error):
        server.signal(signal.SIGHUP)
        stays(server.is_running, 'the arbiter', 0.5)
        assert answers(server)
    mark = server.log_mark()
    server.signal(signal.SIGHUP)
    server.wait_for_log('reloaded', since=mark, deadline=20 * SLOW)
    assert answers(server)


CALLS = {'fork': 'clone,clone3,fork,vfork', 'pipe': 'pipe,pipe2', 'mmap': 'mmap', 'accept': 'accept,accept4', 'write': 'write,writev,pwrite64'}


@pytest.mark.parametrize('error', ['EAGAIN', 'EMFILE', 'ENOMEM', 'ENOSPC', 'EIO'])
@pytest.mark.parametrize('call', CALLS)
def test_whatever_fails_the_arbiter_survives(cserve, call, error, sanitized):
    """A reload, a death, another worker, a rotation, while the call fails in the arbiter and in whatever it starts. Then all is well again."""
    if sanitized and call == 'mmap':
        pytest.skip('a sanitizer cannot live without mmap')
    server = cserve(app='def application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"ok"]\n',
                    workers=2, settings={'boot_timeout': '2', 'accesslog': 'access.txt', 'errorlog': 'error.txt'}, wait=False)
    until(lambda: answers(server) and len(server.workers()) == 2, 'the start', 20 * SLOW)
    old = server.workers()
    with Fault(server.pid, CALLS[call], error, children=True):
        server.signal(signal.SIGHUP)
        stays(server.is_running, 'the arbiter', 0.5)
        with contextlib.suppress(ProcessLookupError):  # the reload may have worked
            server.signal(signal.SIGKILL, old[0])
        server.signal(signal.SIGTTIN)
        server.signal(signal.SIGUSR1)
        stays(server.is_running, 'the arbiter', 0.5)
        assert call == 'accept' or answers(server), 'the worker that nothing happened to'
    log = server.directory / 'error.txt'
    size = log.stat().st_size
    server.signal(signal.SIGHUP)
    until(lambda: 'reloaded' in log.read_text()[size:], lambda: f'a reload in {log.read_text()}', 30 * SLOW)
    until(lambda: answers(server) and len(server.workers()) in (2, 3), 'workers')  # a TTIN may be lost with the write of the self-pipe


@pytest.mark.parametrize('calls, error, status', [('pipe2', 'EMFILE', 3), ('socketpair', 'EMFILE', 3), ('socket', 'EMFILE', 1), ('clone,clone3', 'EAGAIN', 3),
                                                  ('listen', 'EADDRINUSE', 1), ('bind', 'EACCES', 1)])
def test_a_start_that_a_system_call_fails_ends_with_a_reason(cserve, calls, error, status):
    server = cserve(workers=2, start=False, prefix=['strace', '-qq', '-o', '/dev/null', '-e', f'trace={calls}', '-e', f'inject={calls}:error={error}'])
    assert server.run_to_end() == status
    assert re.search(r'cserve: cannot|no worker can start; giving up', server.log())
    server.assert_nothing_left()


@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_a_start_waits_for_a_shortage_of_processes_to_pass(cserve, preload):
    server = cserve(workers=2, settings={'preload_app': preload}, wait=False,
                    prefix=['strace', '-D', '-qq', '-o', '/dev/null', '-e', 'trace=clone,clone3', '-e', 'inject=clone,clone3:error=EAGAIN:when=1..2'])
    server.wait_for_log('cannot fork', deadline=20 * SLOW)
    server.wait_for_log('ready: [12] workers serve', deadline=20 * SLOW)
    assert answers(server)


@pytest.mark.parametrize('calls', ['poll,ppoll,select', 'read'])
def test_the_arbiters_loop_survives_interruptions(cserve, calls):
    server = cserve(workers=1)
    old = server.workers()
    with Fault(server.pid, calls, 'EINTR', ':when=1..5'):
        server.signal(signal.SIGKILL, old[0])
        server.wait_workers(1, without=old, deadline=20 * SLOW)
    assert answers(server)


@pytest.mark.parametrize('error', ['ENOSPC', 'EIO', 'EDQUOT'])
def test_spooling_a_body_fails(cserve, error):
    server = cserve()
    worker = server.workers()[0]
    with Fault(worker, 'write,pwrite64,pwritev,writev', error):
        response = server.get('/digest', method='POST', body=b'x' * 500000)
        assert response.status in (503, 507)
    assert server.get('/digest', method='POST', body=b'x' * 500000).status == 200
    assert server.workers() == [worker]


def small_disk(directory, size):
    """A prefix for the binary: of this disk it, and nobody else, sees so many bytes; it goes with the process."""
    directory.mkdir()
    how = ['unshare', '--mount'] if os.geteuid() == 0 else ['unshare', '--mount', '--map-root-user']
    mount = ['sh', '-c', f'mount -t tmpfs -o size={size} tmpfs "{directory}" && exec "$@"', 'sh']
    if subprocess.run([*how, *mount, 'true'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip('no mount namespaces here')
    return [*how, *mount]


def test_a_full_spool_disk_refuses_the_bodies_that_need_it(cserve, tmp_path):
    server = cserve(prefix=small_disk(tmp_path / 'spool', '256k'), settings={'spool_dir': str(tmp_path / 'spool')})
    worker = server.workers()[0]
    for fields, body in [(['Content-Length: 1000000'], b'x' * 1000000),
                         (['Transfer-Encoding: chunked'], b'8000\r\n%s\r\n' % (b'x' * 0x8000) * 20 + b'0\r\n\r\n')]:
        mark = server.log_mark()
        with server.connect() as c:
            c.send(request('/digest', *fields, method='POST') + body)
            response = c.response()
            assert response.status == 507 and response.closes
        assert f"in '{tmp_path}/spool': No space left on device; the request is refused" in server.log(mark)
        assert server.get('/digest', method='POST', body=b'x' * 200000).text.startswith('200000 ')
        assert server.get('/digest', method='POST', body=b'x' * 1000).text.startswith('1000 ')
    assert server.workers() == [worker]


def test_a_full_spool_disk_makes_a_response_wait_for_its_client(cserve, tmp_path):
    server = cserve(prefix=small_disk(tmp_path / 'spool', '256k'), settings={'spool_dir': str(tmp_path / 'spool'), 'response_buffer': '64k'})
    with server.connect(receive_buffer=4096) as c:
        c.send(request('/stream?n=100&size=100000'))
        server.wait_for_log('No space left on device; waiting for its client instead')
        assert len(c.response().body) == 10000000
    assert answers(server)


def test_a_limit_of_file_sizes_kills_nobody(cserve):
    """SIGXFSZ: neither the worker that spools beyond it, nor the arbiter, whose shared memory is a file as well."""
    server = cserve(prefix=['/bin/sh', '-c', 'ulimit -f 400; exec "$@"', 'sh'])  # blocks of 512 bytes
    worker = server.workers()[0]
    with server.connect() as c:
        c.send(request('/digest', method='POST', body=b'x' * 1000000))
        assert c.response().status == 503
    assert 'File too large; the request is refused' in server.log()
    assert server.get('/digest', method='POST', body=b'x' * 150000).text.startswith('150000 ')
    assert server.workers() == [worker]


@pytest.mark.parametrize('error', ['EPIPE', 'ECONNRESET', 'ENOBUFS'])
def test_sending_fails(cserve, error):
    server = cserve()
    worker = server.workers()[0]
    with Fault(worker, 'sendto,sendmsg,writev,sendfile', error):
        with server.connect() as c:
            c.send(b'GET /big?size=300000 HTTP/1.1\r\nHost: a\r\n\r\n')
            with pytest.raises((AssertionError, ConnectionResetError)):
                c.final()
    assert answers(server) and server.workers() == [worker]


def test_system_calls_of_a_kept_alive_request(cserve):
    """One recv, one send and a share of an epoll_wait; nothing else."""
    server = cserve(settings={'handover_delay': '1s'})  # strace slows requests down, and a slow one calls the courier
    worker = server.workers()[0]
    out = server.directory / 'calls'
    with server.connect() as c:
        for _ in range(20):
            c.get('/')
        process = subprocess.Popen(['strace', '-qq', '-f', '-o', str(out), '-p', str(worker)], stderr=subprocess.DEVNULL)
        until(lambda: tracer_of(worker) or process.poll() is not None, 'strace')
        if process.poll() is not None:
            pytest.skip('strace may not attach here')
        for _ in range(100):
            assert c.get('/').status == 200
        process.terminate()
        process.wait(10)
    calls = re.findall(r'^\d+ +(\w+)\(', out.read_text(), re.M)
    counts = {name: calls.count(name) for name in set(calls)}
    assert counts['recvfrom'] <= 101, counts
    assert counts.get('sendto', 0) + counts.get('sendmsg', 0) + counts.get('writev', 0) <= 100, counts
    assert counts['epoll_wait'] <= 110, counts
    assert len(calls) <= 400, counts
    for name in ('epoll_ctl', 'fcntl', 'setsockopt', 'mmap', 'brk'):
        assert counts.get(name, 0) <= 10, counts
