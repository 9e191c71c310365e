"""Service managers and containers: notification, socket activation, process 1."""
import os
import re
import signal
import socket
import time

import pytest

from support import procfs
from support.http import request
from support.wait import DEADLINE, SLOW, stays, until


class Manager:
    """The receiving end of sd_notify(3)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.socket.setblocking(False)
        self.messages = []
        self.store = []  # descriptors that came, as the manager keeps them

    def close(self):
        self.socket.close()
        for fd in self.store:
            os.close(fd)

    def read(self):
        while True:
            try:
                data, files, _, _ = socket.recv_fds(self.socket, 4096, 8)
            except BlockingIOError:
                return self.messages
            self.store += files
            self.messages.append((time.monotonic(), data.decode().splitlines(), len(files)))

    def lines(self):
        return [line for _, lines, _ in self.read() for line in lines]

    def wait(self, pattern, count=1, deadline=DEADLINE):
        return until(lambda: [x for x in self.lines() if re.fullmatch(pattern, x)][count - 1:], lambda: f'{pattern}: {self.lines()}', deadline)


@pytest.fixture
def managed(cserve):
    managers = []

    def make(environment=None, **options):
        server = cserve(start=False, **options)
        manager = Manager(str(server.directory / 'notify'))
        managers.append(manager)
        server.environment['NOTIFY_SOCKET'] = str(server.directory / 'notify')
        server.environment.update(environment or {})
        return server, manager
    yield make
    for manager in managers:
        manager.close()


@pytest.mark.core
def test_ready_is_told_after_the_first_generation_is_ready_and_not_before(managed):
    server, manager = managed(app='''
import os, time
while not os.path.exists('go'):
    time.sleep(0.01)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
''', workers=2)
    server.start(wait=False)
    server.wait_for_log('listening')
    stays(lambda: 'READY=1' not in manager.lines(), 'silence', 0.3)
    (server.app_directory / 'go').touch()
    manager.wait('READY=1')
    assert server.get('/').status == 200
    manager.wait('STATUS=.*2.*')


def test_a_start_that_fails_never_says_ready(managed):
    server, manager = managed(app='1 / 0\n')
    assert server.run_to_end() == 4
    assert 'READY=1' not in manager.lines()


def test_a_reload_is_told_with_its_time(managed):
    server, manager = managed()
    server.start()
    manager.wait('READY=1')
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    server.signal(signal.SIGHUP)
    manager.wait('RELOADING=1')
    stamp = int(manager.wait(r'MONOTONIC_USEC=\d+')[0].split('=')[1])
    assert before <= stamp <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.wait('READY=1', count=2)
    order = [x for x in manager.lines() if x in ('RELOADING=1', 'READY=1')]
    assert order == ['READY=1', 'RELOADING=1', 'READY=1']


def test_a_reload_that_fails_ends_in_ready_too(managed):
    server, manager = managed()
    server.start()
    server.write_ini(threads='many')
    server.signal(signal.SIGHUP)
    server.wait_for_log('reload failed')
    order = manager.wait('READY=1', count=2) and [x for x in manager.lines() if x in ('RELOADING=1', 'READY=1')]
    assert order == ['READY=1', 'RELOADING=1', 'READY=1']


def test_stopping_is_told_at_once(managed):
    server, manager = managed(settings={'graceful_timeout': '20'})
    server.start()
    with server.begin('/sleep?s=2') as c:
        server.signal(signal.SIGTERM)
        manager.wait('STOPPING=1')
        assert not c.has_news(), 'told only at the end'
        c.response()
    server.wait_exit()


def test_more_time_is_asked_for_while_draining(managed):
    server, manager = managed(settings={'graceful_timeout': '60', 'timeout': '0'})
    server.start()
    with server.begin('/sleep?s=3') as c:
        server.signal(signal.SIGTERM)
        manager.wait(r'EXTEND_TIMEOUT_USEC=\d+')
        c.response()
    server.wait_exit()


def test_more_time_is_asked_for_while_booting_slowly(managed):
    server, manager = managed(app='''
import os, time
while not os.path.exists('go'):
    time.sleep(0.01)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
''')
    server.start(wait=False)
    manager.wait(r'EXTEND_TIMEOUT_USEC=\d+')
    (server.app_directory / 'go').touch()
    manager.wait('READY=1')


def test_the_watchdog_is_fed_in_time(managed):
    server, manager = managed({'WATCHDOG_USEC': '400000'})
    server.start()
    manager.wait('WATCHDOG=1', count=6)
    times = [t for t, lines, _ in manager.messages if 'WATCHDOG=1' in lines]
    assert max(b - a for a, b in zip(times, times[1:])) < 0.4 * SLOW


def test_status_counts_workers(managed):
    server, manager = managed(workers=3)
    server.start()
    manager.wait(r'STATUS=.*3.*')
    server.signal(signal.SIGTTIN)
    manager.wait(r'STATUS=.*4.*')


def test_the_application_does_not_inherit_the_managers_variables(managed):
    server, _ = managed({'WATCHDOG_USEC': '10000000'}, app='''
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(k for k in os.environ if k.startswith(('NOTIFY', 'WATCHDOG', 'LISTEN', 'FDSTORE'))).encode()]
''')
    server.start()
    assert server.get('/').body == b''


def test_an_upgrade_keeps_the_manager_informed(managed):
    server, manager = managed()
    server.start()
    old = server.workers()
    server.signal(signal.SIGUSR2)
    server.wait_workers(1, without=old, deadline=30 * SLOW)
    until(lambda: manager.lines().count('READY=1') >= 2 or server.get('/').status == 200, 'news')
    server.stop()
    manager.wait('STOPPING=1')


# ---- socket activation ----

ACTIVATE = ['/bin/sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh']


def _activated(cserve, listeners, **options):
    """Passes the sockets from descriptor 3 on, as systemd does."""
    def place():
        copies = [os.dup(s.fileno()) for s in listeners]  # out of the way of the numbers to be taken
        copies = [__import__('fcntl').fcntl(c, 1030, 50) for c in copies]  # F_DUPFD_CLOEXEC from 50 on
        for number, copy in enumerate(copies, 3):
            os.dup2(copy, number)
    env = {'LISTEN_FDS': str(len(listeners)), **options.pop('env', {})}
    return cserve(bind=None, prefix=ACTIVATE, env=env, preexec=place, pass_fds=tuple(range(3, 3 + len(listeners))), **options)


def test_socket_activation_with_one_socket(cserve):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        server = _activated(cserve, [listener], workers=2)
        server.address = listener.getsockname()
        assert server.get('/').status == 200
        old = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, without=old)
        assert server.get('/').status == 200


def test_socket_activation_with_several_sockets(cserve, tmp_path):
    path = str(tmp_path / 's')
    with socket.create_server(('127.0.0.1', 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        server = _activated(cserve, [tcp, unix], env={'LISTEN_FDNAMES': 'http:local'})
        for address in (tcp.getsockname(), path):
            server.address = address
            assert server.get('/').status == 200
        server.stop()
        assert os.path.exists(path), 'the socket is the manager\'s'


def test_connections_made_before_the_start_are_served(cserve):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        with socket.create_connection(listener.getsockname()) as early:
            early.sendall(request('/', 'Connection: close'))
            server = _activated(cserve, [listener])
            early.settimeout(10 * SLOW)
            assert early.recv(100).startswith(b'HTTP/1.1 200')
            assert server.is_running()


def test_systemd_socket_activate(cserve, need):
    """systemd's own tool; it starts the server with the first connection."""
    tool = need('systemd-socket-activate')
    server = cserve(start=False, bind='tcp')
    server.settings.pop('bind')
    server.prefix = [tool, '-l', f'127.0.0.1:{server.port}']
    server.start(wait=False)

    def answer():
        try:
            return server.get('/').status
        except OSError:
            return None
    assert until(answer, 'an answer', 20 * SLOW) == 200


# ---- containers ----

@pytest.fixture
def contained(cserve, need):
    """cserve as process 1 of a pid namespace."""
    tool = need('unshare')
    if os.geteuid() != 0 or os.system(f'{tool} --fork --pid true 2>/dev/null') != 0:
        pytest.skip('no right to make a pid namespace')

    def make(**options):
        server = cserve(start=False, prefix=[tool, '--fork', '--pid', '--kill-child'], **options)
        server.start(wait=False)
        inner = until(lambda: [p for p in procfs.children(server.process.pid) if procfs.title(p).startswith('cserve: master')],
                      'process 1', 20 * SLOW)[0]
        server.outer = server.process.pid
        server.daemon_pid = inner
        until(lambda: server.log().count('is ready') >= (server.workers_wanted or 1), 'ready workers', 20 * SLOW)
        return server
    return make


def test_as_process_1_it_serves_and_stops_on_term(contained):
    server = contained(workers=2)
    assert server.get('/').status == 200
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.process.wait(10 * SLOW) == 0
    assert time.monotonic() - begin < 5 * SLOW


def test_as_process_1_it_replaces_workers_and_reaps_orphans(contained):
    server = contained(app='''
import os
def application(environ, start_response):
    if os.fork() == 0:
        if os.fork() == 0:
            os.execvp('sleep', ['sleep', '0.2'])
        os._exit(0)
    os.wait()
    start_response('200 OK', [])
    return [b'ok']
''')
    for _ in range(3):
        assert server.get('/').status == 200
    old = server.workers()
    server.signal(signal.SIGKILL, old[0])
    server.wait_workers(1, without=old)
    until(lambda: len(procfs.children(server.pid)) == 1, 'the orphans to be reaped')


def test_as_process_1_workers_die_with_it(contained):
    server = contained(workers=2)
    pids = server.workers()
    server.signal(signal.SIGKILL)
    until(lambda: not any(procfs.is_alive(p) for p in pids), 'the end of all', 5 * SLOW)
    server.process.wait(10 * SLOW)


@pytest.mark.root
def test_a_read_only_root_without_home(cserve, need):
    """As containers are run: it serves, and what needs a place to write says which setting names one."""
    tool = need('unshare')
    freeze = 'mount --make-rprivate / && mount --rbind / {0} && mount -o remount,bind,ro {0} && exec chroot {0} "$@"'
    server = cserve(start=False, workers=2, settings={'spool_dir': '/'}, env={'HOME': None, 'USER': None})
    root = server.directory / 'root'
    root.mkdir()
    server.prefix = [tool, '--mount', '/bin/sh', '-c', freeze.format(root), 'sh']
    if os.system(f"{tool} --mount /bin/sh -c '{freeze.format(root)}' sh true 2>/dev/null") != 0:
        pytest.skip('no right to make a read-only root')
    assert server.run_to_end() == 1
    assert "cannot write to spool_dir '/': Read-only file system" in server.log()
    server.write_ini(spool_dir='/dev/shm')
    server.start()
    assert server.get('/').status == 200
    assert server.get('/digest', method='POST', body=b'x' * 500000).status == 200
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_workers(2, without=old)
    assert server.get('/').status == 200


def test_listeners_go_to_the_managers_store(managed):
    server, manager = managed({'FDSTORE': '16'})
    server.start()
    manager.wait('FDSTORE=1')
    manager.wait('FDNAME=.+')
    assert sum(count for _, lines, count in manager.messages if 'FDSTORE=1' in lines) == 1
    server.stop()


def test_a_restart_takes_the_listeners_from_the_managers_store(managed, cserve):
    """Even after a crash: whoever connects meanwhile waits, and is answered."""
    server, manager = managed({'FDSTORE': '16'})
    server.start()
    name = manager.wait('FDNAME=.+')[0].split('=')[1]
    workers = server.workers()
    server.signal(signal.SIGKILL)
    until(lambda: not any(procfs.is_alive(p) for p in [server.pid, *workers]), 'the end of all')
    with server.connect() as early, socket.socket(fileno=os.dup(manager.store[0])) as stored:
        early.send(request('/', 'Connection: close'))
        second = _activated(cserve, [stored], settings={'bind': '{}:{}'.format(*server.address)}, env={'LISTEN_FDNAMES': name})
        assert early.final().status == 200
        second.address = server.address
        assert second.get('/').status == 200
        second.stop()
