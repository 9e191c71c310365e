"""Clients that are slow, many, or stuck cost bytes, not workers."""
import socket
import time

import pytest

from support import procfs
from support.http import request
from support.wait import LONG, SLOW, until

NOFILE = ['/bin/sh', '-c', 'ulimit -n $(ulimit -H -n); exec "$@"', 'sh']


def _raise_own_limit(wanted):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        pytest.skip(f'only {hard} descriptors')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def test_5000_idle_connections_cost_little_and_leave_others_alone(cserve, sanitized):
    _raise_own_limit(6000)
    server = cserve(prefix=NOFILE)
    worker = server.workers()[0]

    def latency():
        times = []
        with server.connect() as c:
            for _ in range(1000):
                begin = time.monotonic()
                c.get('/')
                times.append(time.monotonic() - begin)
        return sorted(times)[len(times) // 10]  # what it takes when nothing else of the machine comes in between
    latency()
    before, quick = procfs.rss(worker), latency()
    idle = []
    try:
        for _ in range(5000):
            c = server.connect()
            c.send(request('/'))
            idle.append(c)
            if len(idle) % 100 == 0:
                for x in idle[-100:]:
                    assert x.response().status == 200
        grown = (procfs.rss(worker) - before) / 5000
        assert sanitized or grown < 4096, f'{grown:.0f} bytes for an idle connection'
        assert latency() < 3 * quick + 0.001 * SLOW
    finally:
        for c in idle:
            c.close()


def test_200_clients_that_trickle_leave_a_fast_one_alone(cserve):
    """One worker; heads, bodies and reads byte by byte. They go on only after the fast one's answer: a server that waited for any of them would wait for
    ever."""
    server = cserve(settings={'header_timeout': '60', 'body_timeout': '60'})
    post = request('/echo', 'Content-Length: 50', method='POST') + b'x' * 50
    heads = [server.connect() for _ in range(80)]
    bodies = [server.connect() for _ in range(80)]
    readers = [server.connect(receive_buffer=2048) for _ in range(40)]
    everyone = heads + bodies + readers
    try:
        for c in bodies:
            c.send(post[:-50])
        for c in readers:
            c.send(request('/big?size=2000000'))
        for i in range(50):
            for c in heads:
                c.send(post[i:i + 1])
            for c in bodies:
                c.send(b'x')
            for c in readers:
                c.sock.recv(1)
            assert server.get('/').status == 200
        for c in bodies:
            assert c.response().body == b'x' * 50
    finally:
        for c in everyone:
            c.close()


@pytest.mark.parametrize('endless', [b'GET /' + b'a' * 4000, b'GET / HTTP/1.1\r\nHost: a\r\nX: ' + b'a' * 4000,
                                     b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;' + b'a' * 500],
                         ids=['line', 'field', 'chunk'])
def test_what_never_ends_costs_a_fixed_number_of_bytes(cserve, sanitized, endless):
    server = cserve(settings={'header_timeout': '60'})
    worker = server.workers()[0]
    server.get('/')
    before = procfs.rss(worker)
    clients = [server.connect() for _ in range(200)]
    try:
        for c in clients:
            c.send(endless)
        assert server.get('/').status == 200
        assert sanitized or procfs.rss(worker) - before < 200 * 24 * 1024
    finally:
        for c in clients:
            c.close()


def test_connections_that_come_and_go_without_a_word(cserve):
    server = cserve()
    for _ in range(300):
        socket.create_connection(server.address).close()
    assert server.get('/').status == 200
    worker = server.workers()[0]
    until(lambda: len([t for t in procfs.descriptors(worker).values() if t.startswith('socket:')]) < 12, 'their descriptors to go')


def test_a_pipeline_that_is_never_read_does_not_eat_memory(cserve, sanitized):
    """Requests without end from a client that takes no answer: at some point the server reads no more."""
    server = cserve(settings={'send_timeout': '60'})
    worker = server.workers()[0]
    server.get('/big?size=100000')
    before = procfs.rss(worker)
    with server.connect(receive_buffer=4096, timeout=1) as c:
        one = request('/big?size=100000') * 100
        sent = 0
        try:
            while sent < 300 << 20:
                c.sock.sendall(one)
                sent += len(one)
        except TimeoutError:
            pass
        assert sent < 300 << 20, 'it reads on and on'
        assert sanitized or procfs.rss(worker) - before < 24 << 20
        assert server.get('/').status == 200


def test_a_gigabyte_up_and_down_with_flat_memory(cserve, sanitized):
    if sanitized or not LONG:
        pytest.skip('takes a while: CSERVE_TEST_LONG=1 runs it')
    server = cserve(settings={'limit_request_body': '2g'})
    worker = server.workers()[0]
    before = procfs.peak_rss(worker)
    with server.connect(timeout=300) as c:
        c.send(request('/digest', f'Content-Length: {1 << 30}', method='POST'))
        piece = b'x' * (1 << 20)
        for _ in range(1 << 10):
            c.send(piece)
        assert c.response().text.startswith(str(1 << 30))
        total = 0

        def count(data):
            nonlocal total
            total += len(data)
        c.send(request(f'/stream?n={1 << 10}&size={1 << 20}'))
        c.response(on_chunk=count)
        assert total == 1 << 30
    assert procfs.peak_rss(worker) - before < 16 << 20
