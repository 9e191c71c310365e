"""Connections from outside: keep-alive, pipelining, bodies both ways, timeouts, and how they end."""
import hashlib
import json
import os
import re
import signal
import socket
import time

import pytest

from support import procfs
from support.http import Connection, ProtocolError, request
from support.wait import SLOW, stays, until

pytestmark = pytest.mark.core


@pytest.fixture(scope='module')
def server(module_cserve):
    return module_cserve()


# ---- keep-alive ----

def test_keep_alive_in_1_1_is_the_default(server):
    with server.connect() as c:
        for i in range(5):
            response = c.get('/')
            assert response.status == 200 and not response.closes


def test_close_in_1_1_is_granted_and_announced(server):
    with server.connect() as c:
        assert c.get('/', 'Connection: close')['Connection'].lower() == 'close'
        c.expect_close()


def test_keep_alive_in_1_0_is_granted_and_announced(server):
    with server.connect() as c:
        for i in range(3):
            response = c.get('/', 'Connection: keep-alive', version='1.0')
            assert response['Connection'].lower() == 'keep-alive'
        assert c.get('/', version='1.0').status == 200
        c.expect_close()


def test_a_stream_of_unknown_length_closes_in_1_0(server):
    with server.connect() as c:
        response = c.get('/stream?n=5&size=10', 'Connection: keep-alive', version='1.0')
        assert response.framing == 'close' and len(response.body) == 50
        assert response['Transfer-Encoding'] is None


def test_a_stream_of_known_length_is_kept_alive_in_1_0(server):
    with server.connect() as c:
        response = c.get('/stream?n=5&size=10&length=1', 'Connection: keep-alive', version='1.0')
        assert response.framing == 'length' and len(response.body) == 50 and not response.closes
        assert c.get('/', version='1.0').status == 200


# ---- pipelining ----

def test_pipelined_requests_are_answered_in_order(server):
    with server.connect() as c:
        c.send(b''.join(request(f'/id?n={i}') for i in range(200)))
        assert [c.response().text.split()[0] for _ in range(200)] == [str(i) for i in range(200)]


def test_pipelined_requests_of_unequal_speed_are_answered_in_order(cserve):
    server = cserve(workers=3)
    with server.connect() as c:
        c.send(b''.join(request(f'/id?n={i}&s={0.1 if i % 3 == 0 else 0.0}') for i in range(9)))
        assert [c.response().text.split()[0] for _ in range(9)] == [str(i) for i in range(9)]


def test_pipelined_posts_keep_their_bodies(server):
    with server.connect() as c:
        c.send(b''.join(request('/echo', method='POST', body=b'%d' % i * i) for i in range(50)))
        for i in range(50):
            assert c.response().body == b'%d' % i * i


def test_a_pipelined_request_behind_close_is_not_executed(server):
    key = os.urandom(8).hex()
    with server.connect() as c:
        c.send(request('/', 'Connection: close') + request(f'/count?key={key}'))
        assert c.response().status == 200
        c.expect_close()
    assert server.get(f'/count?key={key}').body == b'1'


# ---- responses without a body ----

def test_head_has_the_fields_of_get_and_no_body(server):
    with server.connect() as c:
        got, head = c.get('/big?size=5000'), c.get('/big?size=5000', method='HEAD')
        assert head.body == b'' and head['Content-Length'] == '5000' == got['Content-Length']
        assert [n for n, _ in head.fields] == [n for n, _ in got.fields]
        assert c.get('/').body == b'hello'


def test_head_of_a_stream_has_no_body(server):
    with server.connect() as c:
        assert c.get('/stream?n=3', method='HEAD').body == b''
        assert c.get('/').body == b'hello'


@pytest.mark.parametrize('code', [204, 304])
def test_no_body_with(server, code):
    with server.connect() as c:
        response = c.get(f'/status?code={code}')
        assert response.status == code and response['X-Code'] == str(code)
        assert response['Transfer-Encoding'] is None
        assert c.get('/').body == b'hello'


@pytest.mark.parametrize('code', [204, 304])
def test_a_body_that_the_application_gives_all_the_same_is_not_sent_with(cserve, code):
    server = cserve(app=f'''
def application(environ, start_response):
    start_response('{code} Whatever', [('Content-Type', 'text/plain')])
    return [b'no client expects this']
''')
    with server.connect() as c:
        assert c.get('/').status == code
        assert c.get('/').status == code


def test_date_and_server_are_added(server):
    response = server.get('/')
    assert response['Server'] == 'cserve'
    assert re.fullmatch(r'(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT', response['Date'])


@pytest.mark.parametrize('rubbish', [b'RUBBISH\r\n\r\n', b'GET / HTTP/1.1\r\n\r\n', b'GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n'])
def test_a_refusal_has_a_date_too(server, rubbish):
    """RFC 9110, 6.6.1: every 4xx of a server with a clock."""
    assert server.raw(rubbish)['Date']


# ---- 100-continue ----

def test_continue_is_sent_before_the_body_is_there(server):
    with server.connect() as c:
        c.send(request('/echo', 'Expect: 100-continue', 'Content-Length: 5', method='POST'))
        interim = c.response()
        assert interim.status == 100 and not interim.fields
        c.send(b'12345')
        assert c.response().body == b'12345'
        assert c.get('/').status == 200


def test_continue_is_sent_for_chunks(server):
    with server.connect() as c:
        c.send(request('/echo', 'Expect: 100-continue', 'Transfer-Encoding: chunked', method='POST'))
        assert c.response().status == 100
        c.send(b'3\r\nabc\r\n', b'0\r\n\r\n')
        assert c.response().body == b'abc'


def test_no_continue_when_the_body_is_there_already(server):
    with server.connect() as c:
        c.send(request('/echo', 'Expect: 100-continue', method='POST', body=b'12345'))
        assert c.response().status == 200


def test_no_continue_in_1_0(server):
    with server.connect() as c:
        c.send(request('/echo', 'Expect: 100-continue', 'Content-Length: 3', method='POST', version='1.0'))
        assert not c.has_news(0.2)
        c.send(b'abc')
        response = c.response()
        assert response.status == 200 and response.body == b'abc'


def test_no_continue_without_a_body(server):
    with server.connect() as c:
        c.send(request('/', 'Expect: 100-continue'))
        assert c.response().status == 200


def test_no_continue_for_a_body_that_is_too_large(cserve):
    server = cserve(settings={'limit_request_body': '1k'})
    with server.connect() as c:
        c.send(request('/echo', 'Expect: 100-continue', 'Content-Length: 1025', method='POST'))
        assert c.response().status == 413
        c.expect_close()


GATED = '''
def application(environ, start_response):
    if environ['PATH_INFO'] == '/first':
        open('../gate').read()  # a FIFO: until the test has opened and closed it
    start_response('200 OK', [])
    return [environ['PATH_INFO'].encode() + b' ' + environ['wsgi.input'].read()]
'''
EXPECTING = request('/second', 'Expect: 100-continue', 'Content-Length: 5', method='POST')


def behind_a_first(cserve, *pieces):
    """The answers to a request that is in the application while the pieces of a second one arrive; a missing body comes after a 100."""
    server = cserve(app=GATED, settings={'graceful_timeout': '1s'})
    gate = server.directory / 'gate'
    os.mkfifo(gate)
    with server.connect() as c:
        c.send(request('/first') + pieces[0])
        with open(gate, 'wb'):  # once the application has opened it
            for piece in pieces[1:]:
                c.send(piece)
            assert not c.has_news(0.1), 'nothing may overtake the first answer'
        answers = []
        while len([a for a in answers if a.status == 200]) < 2:
            answers.append(c.response())
            if answers[-1].status == 100:
                c.send(b'12345')
        assert c.get('/').status == 200, 'nothing is left over'
    return [(a.status, a.text) for a in answers]


def test_continue_for_a_pipelined_request_comes_behind_the_first_answer(cserve):
    assert behind_a_first(cserve, EXPECTING) == [(200, '/first '), (100, ''), (200, '/second 12345')]


@pytest.mark.parametrize('pieces', [(EXPECTING + b'12345',), (EXPECTING, b'12345'), (b'', EXPECTING + b'12345'), (EXPECTING[:-9], EXPECTING[-9:] + b'12345')],
                         ids=['with the head', 'behind the head', 'while the first is served', 'with half of the head'])
def test_no_continue_for_a_pipelined_request_whose_body_has_come(cserve, pieces):
    assert behind_a_first(cserve, *pieces) == [(200, '/first '), (200, '/second 12345')]


# ---- bodies ----

@pytest.mark.parametrize('size', [0, 1, 65535, 65536, 65537, 300000])
def test_a_body_with_a_length_arrives_whole(server, size):
    body = os.urandom(size)
    assert server.get('/echo', method='POST', body=body).body == body


@pytest.mark.parametrize('size', [1, 65536, 300000])
def test_a_chunked_body_arrives_whole(server, size):
    body, pieces = os.urandom(size), []
    for at in range(0, size, 7001):
        piece = body[at:at + 7001]
        pieces.append(b'%x\r\n%s\r\n' % (len(piece), piece))
    with server.connect() as c:
        c.send(request('/echo', 'Transfer-Encoding: chunked', method='POST') + b''.join(pieces) + b'0\r\n\r\n')
        assert c.response().body == body
        assert c.get('/').status == 200


def test_the_application_is_called_only_with_a_complete_body(server):
    """One worker: while a body trickles in, others are served."""
    with server.connect() as slow:
        slow.send(request('/echo', 'Content-Length: 10', method='POST'), b'12345')
        for _ in range(20):
            assert server.get('/').status == 200
        slow.send(b'67890')
        assert slow.response().body == b'1234567890'


def test_a_generator_is_sent_in_chunks(server):
    with server.connect() as c:
        response = c.get('/stream?n=10&size=100')
        assert response.framing == 'chunked' and response.chunks == [100] * 10
        assert c.get('/').status == 200


def test_each_chunk_arrives_before_the_next_is_made(cserve):
    server = cserve(app='''
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    fifo = environ['QUERY_STRING']
    for i in range(5):
        yield b'chunk %d' % i
        with open(fifo) as f:      # until the client has seen this one
            f.read()
''')
    fifo = server.directory / 'fifo'
    os.mkfifo(fifo)
    with server.connect() as c:
        seen = []

        def on_chunk(data):
            seen.append(data)
            with open(fifo, 'w', encoding='ascii') as f:
                f.write('seen')
        c.send(request(f'/?{fifo}'))
        response = c.response(on_chunk=on_chunk)
        assert seen == [b'chunk %d' % i for i in range(5)] and response.framing == 'chunked'


def test_empty_chunks_do_not_end_the_body(cserve):
    server = cserve(app='''
def application(environ, start_response):
    start_response('200 OK', [])
    yield b''
    yield b'a'
    yield b''
    yield b'b'
    yield b''
''')
    with server.connect() as c:
        assert c.get('/').body == b'ab'
        assert c.get('/').body == b'ab'


# ---- slow readers ----

@pytest.mark.parametrize('path', ['/big?size=20000000', '/stream?n=200&size=100000', '/stream?n=200&size=100000&length=1'])
def test_a_slow_reader_never_holds_the_worker(server, path):
    with server.connect(receive_buffer=4096) as slow:
        slow.send(request(path))
        until(lambda: slow.has_news(0.1), 'the beginning of the response')
        begin = time.monotonic()
        for _ in range(20):
            assert server.get('/').status == 200
        assert time.monotonic() - begin < 2 * SLOW
        response = slow.response()
        assert len(response.body) == 20000000
        assert slow.get('/').status == 200


def test_a_fast_client_beside_many_slow_ones(server):
    """One worker; heads, bodies and reads that trickle byte by byte, and go on only after its answer."""
    head, body = request('/echo', 'Content-Length: 60', method='POST'), b'x' * 60
    clients = [server.connect() for _ in range(60)]
    readers = [server.connect(receive_buffer=2048) for _ in range(20)]
    try:
        for c in readers:
            c.send(request('/big?size=3000000'))
        for at in range(0, len(head + body), 8):
            for c in clients:
                c.send((head + body)[at:at + 8])
            assert server.get('/').status == 200
            for c in readers:
                c.sock.recv(64)
        for c in clients:
            assert c.response().body == body
    finally:
        for c in clients + readers:
            c.close()


# ---- how connections end ----

def test_half_close_still_gets_the_whole_answer(server):
    for path, size in (('/', 5), ('/stream?n=20&size=1000&pause=0.01', 20000), ('/big?size=3000000', 3000000)):
        with server.connect() as c:
            c.send(request(path))
            c.half_close()
            assert len(c.response().body) == size
            c.expect_close()


def test_half_close_behind_several_requests_gets_all_answers(server):
    with server.connect() as c:
        c.send(b''.join(request(f'/id?n={i}') for i in range(10)))
        c.half_close()
        assert [c.response().text.split()[0] for _ in range(10)] == [str(i) for i in range(10)]
        c.expect_close()


def test_the_answer_to_a_refused_upload_can_be_read(cserve):
    """No reset destroys it, though the client goes on sending."""
    server = cserve(settings={'limit_request_body': '1k'})
    with server.connect() as c:
        c.send(request('/echo', 'Content-Length: 30000000', method='POST'))
        sent = 0
        while sent < 30000000 and not c.has_news():
            c.send(b'x' * 65536)
            sent += 65536
        for _ in range(16):
            c.send(b'x' * 65536)
        response = c.response()
        assert response.status == 413 and response.closes
        c.half_close()
        c.expect_close()


def test_the_answer_to_a_bad_request_can_be_read_while_more_is_sent(server):
    with server.connect() as c:
        c.send(b'BAD\r\n\r\n')
        for _ in range(50):
            c.send(b'x' * 10000)
        assert c.response().status == 400
        c.half_close()
        c.expect_close()


def test_a_large_answer_with_close_arrives_whole(server):
    with server.connect(receive_buffer=8192) as c:
        c.send(request('/big?size=5000000', 'Connection: close') + b'left over bytes that nobody reads')
        assert len(c.response().body) == 5000000
        c.expect_close()


def test_clients_that_vanish_harm_nobody(server):
    for path in ('/', '/big?size=5000000', '/stream?n=100&size=100000', '/sleep?s=0.05'):
        for _ in range(5):
            c = server.connect()
            c.send(request(path))
            c.reset()
    for _ in range(5):
        c = server.connect()
        c.send(request('/echo', 'Content-Length: 100', method='POST'), b'abc')
        c.reset()
    assert server.get('/').status == 200
    assert len(server.workers()) == 1 and not re.search('Traceback|killed|exited', server.log())


# ---- deadlines of the connection ----

def test_header_timeout_answers_408(cserve):
    server = cserve(settings={'header_timeout': '400ms'})
    with server.connect() as c:
        begin = time.monotonic()
        c.send(b'GET / HTTP/1.1\r\nHost: a\r\n')
        response = c.response()
        took = time.monotonic() - begin
        assert response.status == 408 and response.closes
        c.expect_close()
        assert 0.35 < took < 3 * SLOW


def test_header_timeout_counts_from_the_first_byte(cserve):
    """Trickling does not extend it."""
    server = cserve(settings={'header_timeout': '500ms'})
    with server.connect() as c:
        begin = time.monotonic()
        c.send(b'GET / HTTP/1.1\r\n')
        while not c.has_news(0.05):
            assert time.monotonic() - begin < 5 * SLOW, 'it trickles on for ever'
            c.send(b'X: y\r\n')
        assert c.response().status == 408


def test_a_connection_without_a_request_is_not_a_slow_head(cserve):
    server = cserve(settings={'header_timeout': '300ms', 'keepalive': '30'})
    with server.connect() as c:
        assert not c.has_news(0.8)
        assert c.get('/').status == 200


def test_keepalive_closes_idle_connections(cserve):
    server = cserve(settings={'keepalive': '400ms'})
    with server.connect() as c:
        assert c.get('/').status == 200
        begin = time.monotonic()
        c.expect_close()
        assert 0.3 < time.monotonic() - begin < 3 * SLOW


def test_keepalive_counts_anew_after_each_request(cserve):
    server = cserve(settings={'keepalive': '600ms'})
    with server.connect() as c:
        for _ in range(4):
            assert c.get('/').status == 200
            assert not c.has_news(0.3)


def test_keepalive_0_closes_after_each_answer(cserve):
    server = cserve(settings={'keepalive': '0'})
    with server.connect() as c:
        assert c.get('/').closes
        c.expect_close()


def test_body_timeout_counts_progress(cserve):
    server = cserve(settings={'body_timeout': '500ms'})
    with server.connect() as c:
        c.send(request('/echo', 'Content-Length: 10', method='POST'))
        for _ in range(9):
            assert not c.has_news(0.2)
            c.send(b'x')
        begin = time.monotonic()
        response = c.response()
        assert response.status == 408 and response.closes
        assert 0.2 < time.monotonic() - begin < 3 * SLOW


def test_send_timeout_closes_a_reader_that_stopped(cserve):
    server = cserve(settings={'send_timeout': '500ms'})
    with server.connect(receive_buffer=4096) as c:
        c.send(request('/big?size=30000000'))
        server.wait_for_log(r'send_timeout')
        with pytest.raises((ProtocolError, ConnectionResetError)):
            c.response()
    assert server.get('/').status == 200


def test_send_timeout_spares_a_reader_that_is_only_slow(cserve):
    server = cserve(settings={'send_timeout': '500ms'})
    with server.connect(receive_buffer=4096) as c:
        c.send(request('/big?size=3000000'))
        got = b''
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            got += c.sock.recv(4096)
            time.sleep(0.1)
        c.stream.buffer = got
        assert len(c.response().body) == 3000000


# ---- too many of them ----

def test_at_the_bound_the_longest_idle_connection_is_closed(cserve):
    server = cserve(settings={'worker_connections': '10'})
    first = [server.connect() for _ in range(10)]
    try:
        for c in first:
            assert c.get('/').status == 200
        for c in first[1:]:
            assert c.get('/').status == 200  # now the first one has been idle longest
        with server.connect() as late:
            assert late.get('/').status == 200
            first[0].expect_close()
            for c in first[1:]:
                assert c.get('/').status == 200
    finally:
        for c in first:
            c.close()


def test_out_of_descriptors_pauses_accepting_and_recovers(cserve):
    server = cserve(prefix=['/bin/sh', '-c', 'ulimit -n 64; exec "$@"', 'sh'])
    worker = server.workers()[0]
    clients = []
    try:
        for _ in range(200):
            c = server.connect()
            clients.append(c)
            c.send(request('/'))
        assert clients[0].response().status == 200
        before = procfs.cpu_seconds(worker)
        stays(lambda: procfs.is_alive(worker), 'the worker', 1.0)
        assert procfs.cpu_seconds(worker) - before < 0.5 * SLOW, 'the worker spins'
    finally:
        for c in clients:
            c.close()
    assert until(lambda: server.get('/').status == 200, 'an answer', 20 * SLOW)
    assert server.workers() == [worker]


def test_an_idle_server_costs_no_cpu(server):
    assert server.get('/').status == 200
    pids = [server.pid, *server.workers()]
    before = [procfs.cpu_seconds(p) for p in pids]
    time.sleep(1)  # the thing measured is a second of nothing
    assert all(procfs.cpu_seconds(p) - b <= 0.03 for p, b in zip(pids, before))


def test_many_idle_connections_leave_others_alone(cserve):
    server = cserve(settings={'keepalive': '60'}, prefix=['/bin/sh', '-c', 'ulimit -n 4096; exec "$@"', 'sh'])
    worker = server.workers()[0]
    clients = []
    try:
        for _ in range(50):
            clients.append(server.connect())
            assert clients[-1].get('/').status == 200
        before = procfs.rss(worker)
        for _ in range(700):
            clients.append(server.connect())
            assert clients[-1].get('/').status == 200
        grown = procfs.rss(worker) - before
        begin = time.monotonic()
        for _ in range(50):
            assert server.get('/').status == 200
        assert time.monotonic() - begin < 2 * SLOW
        assert grown / 700 < 4096 * SLOW, f'{grown / 700:.0f} bytes for an idle connection'
    finally:
        for c in clients:
            c.close()


def test_background_threads_of_the_application_run_while_the_loop_waits(cserve):
    server = cserve(app='''
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(ticks).encode()]
''')
    first = int(server.get('/').body)
    until(lambda: int(server.get('/').body) > first + 20, 'ticks of the thread')
    now = int(server.get('/').body)
    time.sleep(0.5)  # nobody wakes the loop meanwhile
    assert int(server.get('/').body) > now + 20 / SLOW


def test_sixty_four_keep_alive_clients_at_once(cserve, background):
    """Each answer belongs to its request."""
    server = cserve(workers=3)

    def client(number):
        def run(stop):
            with server.connect() as c:
                for i in range(40):
                    body = b'%d-%d' % (number, i) * 50
                    assert c.get('/echo', method='POST', body=body).body == body
            return True
        return background(run)
    clients = [client(n) for n in range(64)]
    for c in clients:
        c.__enter__()
    for c in clients:
        assert c.join()


def test_an_upload_and_its_digest_through_requests(server):
    body = os.urandom(3_000_000)
    answer = server.request('POST', '/digest', data=body)
    assert answer.text == f'{len(body)} {hashlib.sha256(body).hexdigest()}'


def test_a_generator_upload_through_requests_is_chunked(server):
    answer = server.request('POST', '/digest', data=(b'x' * 1000 for _ in range(500)))
    assert answer.text == f'500000 {hashlib.sha256(b"x" * 500000).hexdigest()}'


def test_environ_tells_who_is_at_both_ends(server):
    with server.connect() as c:
        seen = json.loads(c.get('/environ').body)
        host, port = c.sock.getsockname()
        assert (seen['REMOTE_ADDR'], seen['REMOTE_PORT']) == (host, str(port))
        assert seen['SERVER_PORT'] == str(server.port)


def test_ipv4_listener_does_not_answer_on_other_addresses(server):
    with socket.socket() as s, pytest.raises(OSError):
        s.settimeout(1)
        s.connect(('127.0.0.2', server.port))


def test_stopping_closes_idle_connections_at_once(cserve):
    server = cserve()
    with server.connect() as c:
        assert c.get('/').status == 200
        begin = time.monotonic()
        server.stop(signal.SIGTERM)
        c.expect_close()
        assert time.monotonic() - begin < 3 * SLOW


def test_the_raw_connection_sees_resets():
    """The tests' own client: a reset must not look like an end."""
    listener = socket.create_server(('127.0.0.1', 0))
    with Connection(listener.getsockname()) as c:
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        peer.close()
        with pytest.raises(ConnectionResetError):
            c.rest()
    listener.close()
