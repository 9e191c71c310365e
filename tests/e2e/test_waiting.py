"""No request waits while any worker is free; nothing that cserve does on purpose closes an idle connection."""
import collections
import contextlib
import signal
import threading
import time

import pytest

from load import Load
from support import procfs
from support.http import request
from support.wait import SLOW, until

SLOW_REQUEST = 4 * SLOW  # seconds; "while it runs" is judged by its answer, not by a clock


@contextlib.contextmanager
def connections(server, count):
    made = [server.connect() for _ in range(count)]
    try:
        yield made
    finally:
        for c in made:
            c.close()


def in_parallel(work, items):
    """work(item) for each in a thread of its own; raises what the first one raised."""
    errors = []

    def run(item):
        try:
            work(item)
        except Exception as e:  # noqa: BLE001: told to the test
            errors.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in items]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def test_no_request_waits_behind_a_slow_one(cserve):
    """Kept-alive connections of the busy worker included: they are handed over."""
    server = cserve(workers=3)
    with connections(server, 24) as clients:
        for c in clients:
            c.get('/')
        slow, *others = clients
        slow.send(request(f'/sleep?s={SLOW_REQUEST}'))
        until(lambda: others[0].get('/pid').text and True, 'an answer')
        for _ in range(3):
            for c in others:
                assert c.get('/pid').status == 200
        assert not slow.has_news(), 'the slow request ended before the quick ones'
        assert slow.response().text.startswith('slept')
        assert slow.get('/').status == 200


@pytest.mark.core
def test_a_body_and_what_is_pipelined_behind_it_go_along(cserve):
    server = cserve(workers=2)
    with connections(server, 6) as clients:
        for c in clients:
            c.get('/')
        clients[0].send(request(f'/sleep?s={SLOW_REQUEST}'))
        body = bytes(range(256)) * 300
        for c in clients[1:]:
            c.send(request('/echo', method='POST', body=body) + request('/echo', method='POST', body=b'second'))
        for c in clients[1:]:
            assert c.response().body == body
            assert c.response().body == b'second'
        assert not clients[0].has_news()


def test_a_spooled_body_goes_along(cserve):
    server = cserve(workers=2, settings={'body_buffer': '16k'})
    with connections(server, 6) as clients:
        for c in clients:
            c.get('/')
        clients[0].send(request(f'/sleep?s={SLOW_REQUEST}'))
        body = b'0123456789abcdef' * 20000
        for c in clients[1:]:
            assert c.get('/echo', method='POST', body=body).body == body
        assert not clients[0].has_news()


@pytest.mark.core
def test_a_reload_closes_no_idle_connection(cserve):
    server = cserve(workers=2)
    with connections(server, 40) as clients:
        old = {c.get('/pid').text for c in clients}
        for _ in range(3):
            before = set(server.workers())
            server.signal(signal.SIGHUP)
            server.wait_workers(2, without=before)
            new = {c.get('/pid').text for c in clients}
            assert not new & old
            old = new


def test_recycling_under_kept_alive_clients_loses_nothing(cserve):
    server = cserve(workers=2, settings={'max_requests': '40', 'max_requests_jitter': '10'})
    pids = set()

    def client(c):
        for _ in range(20000):
            pids.add(c.get('/pid').text)
            if len(pids) > 8:
                break
    with connections(server, 12) as clients:
        in_parallel(client, clients)
    assert len(pids) > 8, 'too few were recycled'


@pytest.mark.parametrize('hang', ['/spin?s=60', '/sleep?s=60', '/hold?s=60'])
def test_a_hung_request_costs_exactly_one_504(cserve, hang):
    server = cserve(workers=3, settings={'timeout': f'{SLOW:g}' if SLOW >= 1 else '1'})
    with connections(server, 50) as idle, connections(server, 10) as active:
        for c in idle + active:
            c.get('/')
        with server.connect() as hung:
            hung.send(request(hang))
            while not hung.has_news(0.01):
                for c in active:
                    assert c.get('/').status == 200
            answer = hung.response()
            assert (answer.status, answer['connection']) == (504, 'close')
        server.wait_for_log('killed by cserve: timeout|exceeds timeout')
        for c in idle + active:
            assert c.get('/').status == 200


def test_the_courier_answers_no_response_that_has_begun(cserve):
    server = cserve(app='''
import time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'begun'
    time.sleep(60)
''', workers=2, settings={'timeout': f'{max(1, SLOW):g}'})
    with server.connect() as c:
        c.send(request('/'))
        data = c.rest()
        assert data.count(b'HTTP/1.1') == 1 and b'504' not in data and not data.endswith(b'0\r\n\r\n')


@pytest.mark.parametrize('kind, clients', [('keep', 4), ('keep', 8), ('keep', 256), ('close', 4), ('close', 64)])
def test_even_load_is_shared_evenly(cserve, kind, clients):
    """Soon after it began, whoever took the first connections: judged window by window."""
    server = cserve(workers=4)
    with Load(server.address, {kind: clients}, patience=60 * SLOW) as load:
        def is_even_now():
            served, begin = collections.Counter(), load.counts['answered']
            served.subtract(dict(load.by_process))
            until(lambda: load.counts['answered'] >= begin + 4000, 'answers', 60 * SLOW)
            served.update(dict(load.by_process))
            return max(served.values()) <= 1.3 * sum(served.values()) / 4
        assert until(is_even_now, lambda: f'an even share of the requests: {load.by_process}', 60 * SLOW)


def test_threads_run_requests_side_by_side(cserve):
    """Each waits for the others inside the application."""
    server = cserve(app='''
import threading
barrier = threading.Barrier(4)
def application(environ, start_response):
    if environ['PATH_INFO'] == '/meet':
        barrier.wait(60)
    start_response('200 OK', [])
    return [str(environ['wsgi.multithread']).encode()]
''', workers=1, settings={'threads': '4'})
    with connections(server, 4) as clients:
        for c in clients:
            c.send(request('/meet'))
        assert [c.response().text for c in clients] == ['True'] * 4


def test_with_threads_a_hung_request_gets_504_and_an_exception_and_the_worker_retires(cserve, tmp_path):
    caught = tmp_path / 'caught'
    caught.touch()
    caught.chmod(0o666)
    server = cserve(app=f'''
import time
from cserve import RequestTimeout
def application(environ, start_response):
    if environ['PATH_INFO'] == '/hang':
        try:
            while True:
                time.sleep(0.01)
        except RequestTimeout:
            open({str(caught)!r}, 'w').write('caught')
            raise
    start_response('200 OK', [])
    return [b'fine']
''', workers=1, settings={'threads': '3', 'timeout': f'{max(1, SLOW):g}'})
    worker = server.workers()[0]
    with server.connect() as c:
        c.send(request('/hang'))
        while not c.has_news(0.01):
            assert server.get('/').status == 200
        assert c.response().status == 504
    until(lambda: caught.read_text() == 'caught', 'the exception in the application')
    server.wait_workers(1, without=[worker])
    assert server.get('/').status == 200
    assert 'retires: one of its threads hangs' in server.log()


def test_with_threads_one_that_cannot_be_interrupted_is_killed_after_graceful_timeout(cserve):
    server = cserve(workers=1, settings={'threads': '2', 'timeout': f'{SLOW:g}', 'graceful_timeout': f'{SLOW:g}'})
    worker = server.workers()
    with server.connect() as beside, server.connect() as hung:
        beside.get('/')
        hung.send(request('/sleep?s=600'))
        while not hung.has_news(0.01):
            assert beside.get('/').status == 200
        assert hung.response().status == 504
        server.wait_for_log('retires: one of its threads hangs')
        server.wait_for_log('not done within graceful_timeout')
        server.wait_workers(1, without=worker)
        assert beside.get('/').status == 200


def test_an_application_can_ask_whether_its_client_is_gone(cserve):
    server = cserve(app='''
import time
def application(environ, start_response):
    gone = environ['cserve.client_gone']
    if environ['PATH_INFO'] == '/wait':
        while not gone():
            time.sleep(0.005)
        environ['wsgi.errors'].write('it is gone\\n')
    start_response('200 OK', [])
    return [str(gone()).encode()]
''')
    assert server.get('/').text == 'False'
    with server.connect() as c:
        c.send(request('/wait'))
        time.sleep(0.05)  # nothing to wait for: the request only has to be under way before the client goes
        c.reset()
    server.wait_for_log('it is gone')


def test_a_client_that_is_gone_is_not_served(cserve):
    server = cserve(workers=1)
    with server.connect() as busy, server.connect() as gone:
        gone.get('/')
        busy.send(request(f'/sleep?s={SLOW_REQUEST / 4}'))
        gone.send(request('/count?key=gone'))
        gone.reset()
        busy.response()
    assert server.get('/count?key=gone').text == '1'


def test_a_client_that_is_gone_before_it_was_accepted_is_not_served(cserve):
    """Its request lies in the kernel, in front of the news that it has gone."""
    server = cserve(workers=1)
    with server.connect() as busy, server.connect() as first:
        busy.send(request(f'/sleep?s={SLOW_REQUEST / 4}'))
        first.send(request('/'))  # not the first in the queue either
        for _ in range(3):
            with server.connect() as gone:
                gone.send(request('/count?key=gone'))
                gone.reset()
        busy.response()
        assert first.response().status == 200
    assert server.get('/count?key=gone').text == '1'


def test_an_idle_server_sleeps(cserve):
    """No periodic wake-up: neither courier nor arbiter nor a worker has one."""
    server = cserve(workers=4)
    for _ in range(50):
        server.get('/')
    with connections(server, 8) as clients:
        for c in clients:
            c.get('/')

        def wake_ups():
            return sum(procfs.wake_ups(pid) for pid in [server.pid, *server.workers()])

        def is_quiet():
            before = wake_ups()
            time.sleep(2)  # nothing to wait for: that is the point
            return wake_ups() - before <= 5
        assert until(is_quiet, 'two seconds in which hardly a thread wakes up', 30 * SLOW)


def test_handing_over_can_be_switched_off(cserve):
    server = cserve(workers=2, settings={'handover_delay': '0'})
    assert server.get('/').status == 200
