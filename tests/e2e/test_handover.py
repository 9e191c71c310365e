"""Where a connection goes when its worker cannot serve it: to a sibling, whole and once, whatever dies or leaves meanwhile."""
import contextlib
import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from load import Load
from support import procfs
from support.http import request
from support.server import APPS
from support.wait import LONG, SLOW, until


@contextlib.contextmanager
def connections(server, count):
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(server.connect()) for _ in range(count)]
        for c in made:
            c.get('/')
        yield made


def begin_on(server, connection, path):
    """The request is in the application by now."""
    server.marks += 1
    mark = server.directory / f'mark-{server.marks}'
    connection.send(request(path, f'X-Mark: {mark}'))
    until(mark.exists, f'{path} to reach the application')


def with_a_stuck_worker(server, clients):
    """One worker that has all of `clients` and is busy for ever, and the free one that came later."""
    stuck, = server.workers()
    begin_on(server, clients[0], '/sleep?s=600')
    server.signal(signal.SIGTTIN)
    free, = set(server.wait_workers(2)) - {stuck}
    return stuck, free


ALONE = {'timeout': '0', 'graceful_timeout': '100ms'}  # what is stuck stays stuck, and does not hold up the end


def rest_of(connection):
    try:
        return connection.rest()
    except ConnectionResetError:
        return connection.stream.buffer


# ---- who gets what ----

def test_a_worker_that_was_alone_hands_over_to_one_that_comes_later(cserve):
    server = cserve(workers=1, settings=ALONE)
    with connections(server, 6) as clients:
        _, free = with_a_stuck_worker(server, clients)
        assert {c.get('/pid').text for c in clients[1:]} == {str(free)}


def test_more_requests_than_the_socket_between_the_workers_holds(cserve):
    """What does not fit waits where it is."""
    server = cserve(workers=2, settings={'timeout': '0'})
    with connections(server, 400) as clients, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(server.begin(f'/sleep?s={SLOW}'))
        for i, c in enumerate(clients):
            c.send(request(f'/id?n={i}') + request(f'/id?n={i}-second'))
        for i, c in enumerate(clients):
            assert [c.response().text.split()[0] for _ in range(2)] == [str(i), f'{i}-second']


def test_a_worker_takes_no_more_connections_than_it_may_have(cserve):
    server = cserve(workers=1, settings={**ALONE, 'worker_connections': '30'})
    with connections(server, 25) as clients:
        with_a_stuck_worker(server, clients)
        with connections(server, 25) as others:
            for c in clients[1:]:
                assert c.get('/').status == 200
            assert sum(c.has_news() for c in others) == 24 + 25 - 30, 'those that were idle longest make room'


def test_what_vanished_on_its_way_is_not_served(cserve):
    server = cserve(workers=1, settings=ALONE)
    with connections(server, 6) as clients:
        before = procfs.sockets(server.workers()[0])
        stuck, _ = with_a_stuck_worker(server, clients)
        begin_on(server, clients[1], f'/sleep?s={2 * SLOW}')
        clients[2].send(request('/count?key=gone'))
        until(lambda: procfs.sockets(stuck) == before - 2, 'the request to have left the stuck worker')
        clients[2].reset()
        assert clients[1].response().status == 200
        assert clients[3].get('/count?key=gone').text == '1'


# ---- death ----

def test_a_taker_that_dies_loses_the_request_that_it_ran(cserve):
    server = cserve(workers=1, settings=ALONE)
    with connections(server, 6) as clients:
        stuck, free = with_a_stuck_worker(server, clients)
        begin_on(server, clients[1], '/sleep?s=600')
        server.signal(signal.SIGKILL, free)
        assert rest_of(clients[1]) == b''
        server.wait_workers(2, without=[free])
        for c in clients[2:]:
            assert c.get('/pid').text not in (str(stuck), str(free))
        assert not clients[0].has_news()


def test_a_giver_that_dies_takes_nothing_with_it(cserve):
    """What it has given belongs to its sibling, whether that has taken it already or not."""
    server = cserve(workers=1, settings=ALONE)
    with connections(server, 6) as clients:
        before = procfs.sockets(server.workers()[0])
        stuck, free = with_a_stuck_worker(server, clients)
        begin_on(server, clients[1], f'/sleep?s={2 * SLOW}')
        for i, c in enumerate(clients[2:]):
            c.send(request(f'/id?n={i}'))
        until(lambda: procfs.sockets(stuck) == before - 5, 'all but one connection to have left the stuck worker')
        server.signal(signal.SIGKILL, stuck)
        assert clients[1].response().text == f'slept in {free}'
        for i, c in enumerate(clients[2:]):
            assert c.response().text.startswith(f'{i} ')


def journaling(path):
    path.touch()
    path.chmod(0o666)
    return (APPS / 'standard.py').read_text() + f'''
journal = os.open({str(path)!r}, os.O_WRONLY | os.O_APPEND)
serve = application
def application(environ, start_response):
    if environ['PATH_INFO'] == '/id':
        os.write(journal, environ['QUERY_STRING'].split('&')[0][2:].encode() + b' ')
    return serve(environ, start_response)
'''


def test_random_kills_and_the_books_balance(cserve, tmp_path):
    """Every request ends in one column of the load generator's books, every answer is the one to its own request, no request is run
    twice, and what is lost is lost by a kill: never more than there were clients."""
    path = tmp_path / 'journal'
    server = cserve(app=journaling(path), workers=4, settings={'timeout': '30', 'preload_app': True})
    chance = random.Random(7)
    kills = []
    mix = {'keep': 12, 'pipe': 4, 'post': 4, 'slow': 4}
    load = Load(server.address, mix, slow_seconds=0.05, patience=60 * SLOW, allowed=('answered', 'raced', 'cut'))
    with load:
        for _ in range(60 if LONG else 12):
            before = load.counts['answered']
            until(lambda: load.counts['answered'] > before + 200, 'answers', 60 * SLOW)
            victims = server.workers()
            if len(victims) > 2:
                server.signal(signal.SIGKILL, chance.choice(victims))
                kills.append(time.monotonic())
            server.wait_workers(4, deadline=60 * SLOW)
    assert load.counts['wrong'] == load.counts['late'] == load.counts['refused'] == 0, str(load)
    assert len(kills) > 8
    assert load.counts['cut'] <= len(kills) * (sum(mix.values()) + 3 * mix['pipe']), str(load)
    run = path.read_text().split()
    assert len(run) == len(set(run)), 'a request was run twice'
    assert load.counts['answered'] <= len(run) <= load.sent


def test_a_half_sent_head_outlives_a_hung_worker(cserve):
    server = cserve(workers=1, settings={'timeout': f'{SLOW:g}'})
    with server.connect() as half, server.connect() as hung:
        half.send(request('/id?n=1') + b'GET /id?n=2 HTTP/1.1\r\nHo')
        assert half.response().text.startswith('1 ')
        hung.send(request('/sleep?s=600'))
        server.signal(signal.SIGTTIN)
        assert hung.response().status == 504
        server.wait_for_log('killed by cserve: timeout')
        half.send(b'st: x\r\n\r\n')
        assert half.response().text.startswith('2 ')


def test_a_half_sent_proxy_header_outlives_a_hung_worker(cserve):
    server = cserve(workers=1, settings={'timeout': f'{SLOW:g}', 'proxy_protocol': 'v1'})
    with server.connect() as half, server.connect() as hung:
        half.send(b'PROXY TCP4 192.0.2.7 192.')
        hung.send(b'PROXY UNKNOWN\r\n' + request('/sleep?s=600'))
        server.signal(signal.SIGTTIN)
        assert hung.response().status == 504
        server.wait_for_log('killed by cserve: timeout')
        half.send(b'0.2.8 1 2\r\n')
        assert json.loads(half.get('/environ').body)['REMOTE_ADDR'] == '192.0.2.7'


# ---- leaving ----

def _recycle(server, how):
    if how == 'reload':
        server.signal(signal.SIGHUP)
    elif how == 'fewer':
        server.signal(signal.SIGTTOU)
    elif how == 'upgrade':
        server.signal(signal.SIGUSR2)
    elif how == 'requests':
        for _ in range(40):
            server.get('/')


LEAVING = {'reload': {}, 'fewer': {}, 'upgrade': {}, 'requests': {'max_requests': '10'}, 'age': {'max_worker_age': f'{SLOW:g}'},
           'memory': {'max_worker_memory': '1m'}}


@pytest.mark.parametrize('how', LEAVING)
def test_idle_connections_outlive_the_workers_that_leave(cserve, how):
    server = cserve(workers=2, settings=LEAVING[how])
    old = server.workers()
    with connections(server, 20) as clients:
        _recycle(server, how)
        until(lambda: set(old) - set(server.workers()), 'a worker to leave', 60 * SLOW)
        if how in ('reload', 'upgrade'):
            until(lambda: not set(old) & set(server.workers()), 'the workers to leave', 60 * SLOW)
        for _ in range(2):
            assert all(c.get('/').status == 200 for c in clients)


def test_a_worker_that_retires_learns_that_the_others_stop(cserve):
    """It answers by itself what it would have handed over."""
    server = cserve(workers=1)
    with server.connect() as half, server.begin(f'/sleep?s={2 * SLOW}') as running:
        half.send(b'GET /id?n=7 HTTP/1.1\r\nHost: x\r\n')
        old = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_for_log('reloaded')
        new, = set(server.workers()) - set(old)
        half.send(b'X-More: of it\r\n')
        server.signal(signal.SIGTERM)
        until(lambda: not procfs.is_alive(new), 'the new worker to leave')
        half.send(b'\r\n')
        assert running.response().text == f'slept in {old[0]}'
        assert half.response().text.startswith('7 ')


@contextlib.contextmanager
def saturated(server, kind):
    """More clients than workers, each with a request at any time, on a connection of its own or on a new one for each."""
    over = threading.Event()

    def client():
        with server.connect() as kept:
            while not over.is_set():
                kept.get('/sleep?s=0.05') if kind == 'kept' else server.get('/sleep?s=0.05')

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(client) for _ in range(6)]
        try:
            yield
        finally:
            over.set()
        for w in work:
            w.result()


@pytest.mark.parametrize('kind', ['kept', 'new'])
def test_neither_kept_nor_new_connections_starve_the_other_when_all_workers_are_busy(cserve, kind):
    server = cserve(workers=2)
    with server.connect() as kept, saturated(server, kind):
        for _ in range(20):
            assert kept.get('/').status == 200
            assert server.get('/').status == 200
