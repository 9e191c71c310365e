"""Applications that pass objects of a request on to threads of their own. Nothing here needs a GIL: with a binary that is built for a
free-threaded interpreter the same must hold."""
import collections
import random
import threading

import pytest


APP = '''
import threading
HEADERS = [('Content-Type', 'text/plain')]

def beside(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for t in threads:
        t.start()
    return threads

def read(environ, pieces):
    while True:
        piece = environ['wsgi.input'].read(700)
        if not piece:
            break
        pieces.append(piece)
        environ['cserve.client_gone']()

def shared_input(environ, start_response):
    pieces = []
    threads = beside(lambda: read(environ, pieces), 3)
    read(environ, pieces)
    for t in threads:
        t.join()
    start_response('200 OK', HEADERS)
    return [b'%d' % sum(map(len, pieces))]

def shared_write(environ, start_response):
    write = start_response('200 OK', HEADERS)
    written = []
    def work():
        for _ in range(20):
            try:
                write(b'x' * 1000)
                written.append(1000)
            except RuntimeError:      # another thread is sending just now
                pass
    threads = beside(work, 2)
    work()
    for t in threads:
        t.join()
    write(b'%8d' % sum(written))
    return []

def left_behind(environ, start_response):
    """Threads that go on with everything of the request after its end."""
    gone, body, start = environ['cserve.client_gone'], environ['wsgi.input'], start_response
    def work():
        for _ in range(100):
            gone()
            for use in (lambda: body.read(3), lambda: start('200 OK', HEADERS)):
                try:
                    use()
                except (AssertionError, RuntimeError, ValueError):
                    pass
    beside(work, 2)
    try:
        start_response('200 OK', HEADERS)
    except AssertionError:
        pass
    return [b'left']

def same_list(environ, start_response, answer=[b'from all']):
    answer[:] = [b'from all']
    start_response('200 OK', HEADERS)
    return answer

def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
'''


def check(path, body, answer):
    if path == '/shared_input':
        assert answer.body == b'%d' % len(body)
    elif path == '/shared_write':
        assert len(answer.body) - 8 == int(answer.body[-8:]) and set(answer.body[:-8]) == {ord('x')}
    else:
        assert answer.body in (b'left', b'from all')


@pytest.mark.parametrize('threads', [1, 4])
def test_objects_of_a_request_in_many_threads(cserve, threads):
    server = cserve(app=APP, workers=1, settings={'threads': str(threads), 'body_buffer': '64k'})
    worker = server.workers()
    faults, done = [], collections.Counter()

    def client(seed):
        chance = random.Random(seed)
        try:
            with server.connect() as c:
                for _ in range(60):
                    path = chance.choice(['/shared_input', '/shared_write', '/left_behind', '/same_list'])
                    body = bytes(chance.choice([100, 5000, 200000]))
                    check(path, body, c.get(path, method='POST', body=body))
                    done[path] += 1
        except Exception as e:  # noqa: BLE001: told to the test
            faults.append(repr(e))
    clients = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not faults and len(done) == 4
    assert server.workers() == worker, 'it crashed'
    assert 'Traceback' not in server.log()
