"""Addresses: TCP, IPv6, unix, abstract, inherited."""
import grp
import os
import signal
import socket
import stat
import threading

import pytest

from support.http import Connection, request
from support.wait import SLOW, until

pytestmark = pytest.mark.core


@pytest.mark.parametrize('bind', ['tcp', 'tcp6', 'unix', 'abstract'])
def test_serves_on(cserve, bind):
    server = cserve(bind=bind, workers=2)
    with server.connect() as c:
        for _ in range(3):
            assert c.get('/').body == b'hello'
    assert server.get('/').status == 200
    server.stop()


def test_several_addresses_at_once(cserve):
    server = cserve(start=False)
    path = str(server.directory / 's')
    server.settings['bind'] = [server.settings['bind'], f'unix:{path}', f'[::1]:{server.port}']
    server.start()
    for address in (server.address, path, ('::1', server.port)):
        with Connection(address) as c:
            assert c.get('/').status == 200


def test_a_port_alone_means_every_address(cserve):
    server = cserve(start=False)
    server.settings['bind'] = f':{server.port}'
    server.start()
    assert server.get('/').status == 200
    with Connection(('127.0.0.9', server.port)) as c:
        assert c.get('/').status == 200


def test_the_variable_port(cserve):
    server = cserve(start=False)
    server.settings.pop('bind')
    server.environment['PORT'] = str(server.port)
    server.start()
    assert server.get('/').status == 200


def test_a_name_for_the_host(cserve):
    server = cserve(start=False)
    server.settings['bind'] = f'localhost:{server.port}'
    server.start()
    assert server.get('/').status == 200


@pytest.mark.parametrize('mode, wanted', [(None, 0o660), ('0600', 0o600), ('0666', 0o666), ('0777', 0o777)])
def test_mode_of_a_unix_socket(cserve, mode, wanted):
    server = cserve(bind='unix', settings={'socket_mode': mode} if mode else {})
    assert stat.S_IMODE(os.stat(server.address).st_mode) == wanted


@pytest.mark.root
def test_owner_and_group_of_a_unix_socket(cserve):
    group = grp.getgrgid(os.stat('/dev/tty').st_gid)
    server = cserve(bind='unix', settings={'socket_owner': 'nobody', 'socket_group': group.gr_name})
    found = os.stat(server.address)
    assert found.st_uid == 65534 and found.st_gid == group.gr_gid and stat.S_IMODE(found.st_mode) == 0o660


def test_a_unix_socket_is_never_open_wider_than_it_ends(cserve):
    """Looked at all the while it appears."""
    server = cserve(bind='unix', start=False, settings={'socket_mode': '0600'})
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            for entry in os.scandir(server.directory):
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISSOCK(found.st_mode):
                    seen.add(stat.S_IMODE(found.st_mode))
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        server.start()
    finally:
        stop.set()
        watcher.join()
    assert seen and not [m for m in seen if m & ~0o600], [oct(m) for m in seen]


def test_a_unix_socket_goes_with_its_server(cserve):
    server = cserve(bind='unix')
    assert os.path.exists(server.address)
    server.stop()
    assert not os.path.exists(server.address)


def test_a_dead_unix_socket_is_replaced(cserve):
    server = cserve(bind='unix')
    server.signal(signal.SIGKILL)
    server.wait_exit()
    assert os.path.exists(server.address)
    mark = server.log_mark()
    server.start(wait=False)
    server.wait_ready(since=mark)
    assert server.get('/').status == 200


def test_a_unix_socket_of_somebody_else_is_not_removed(cserve):
    server = cserve(bind='unix')
    os.unlink(server.address)
    other = socket.socket(socket.AF_UNIX)
    other.bind(server.address)
    server.stop()
    assert os.path.exists(server.address)
    other.close()
    os.unlink(server.address)


def test_an_inherited_descriptor(cserve):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        server = cserve(bind=f'fd://{listener.fileno()}', pass_fds=[listener.fileno()], workers=2)
        server.address = listener.getsockname()
        assert server.get('/').status == 200
        old = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, without=old)
        assert server.get('/').status == 200
        server.stop()


def test_an_inherited_unix_socket_is_not_removed(cserve, tmp_path):
    path = str(tmp_path / 'inherited')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        server = cserve(bind=f'fd://{listener.fileno()}', pass_fds=[listener.fileno()])
        server.address = path
        assert server.get('/').status == 200
        server.stop()
        assert os.path.exists(path)


def test_connections_that_wait_in_the_kernel_are_shared(cserve):
    """While one worker is busy, its siblings take what comes."""
    server = cserve(workers=2)
    with server.connect() as busy:
        busy.send(request('/sleep?s=1.5'))
        until(lambda: not busy.has_news(), 'the request under way')
        for _ in range(20):
            assert server.get('/').status == 200
        assert not busy.has_news(), 'twenty quick requests took longer than the slow one'
        assert busy.response().status == 200


def test_a_restart_binds_the_port_at_once(cserve):
    """Connections in TIME_WAIT are no obstacle."""
    server = cserve(settings={'keepalive': '0'})
    for _ in range(5):
        assert server.get('/').status == 200
    server.stop()
    mark = server.log_mark()
    server.start(wait=False)
    server.wait_ready(since=mark)
    assert server.get('/').status == 200


def test_a_port_that_is_freed_in_time_is_bound(cserve):
    """Only an address in use is tried again, briefly."""
    server = cserve(start=False)
    listener = socket.create_server(server.address)
    try:
        server.start(wait=False)
        with pytest.raises(AssertionError):
            until(lambda: server.process.poll() is not None, 'an early end', 0.3)
    finally:
        listener.close()
    server.wait_ready(deadline=20 * SLOW)
    assert server.get('/').status == 200
