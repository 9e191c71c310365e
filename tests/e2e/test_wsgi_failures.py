"""Whatever an application raises or does to its process: its request ends, the log tells it, the worker serves on."""
import contextlib
import os
import signal

import pytest

from support.http import ConnectionEnded, request
from support.wait import until

pytestmark = pytest.mark.core

APP = '''
import io
import os
import sys
import threading

PLAIN = [('Content-Type', 'text/plain')]


class Odd(Exception):
    def __str__(self):
        raise RuntimeError('no text')


class Own(BaseException):
    pass


def raising(error, when='call'):
    def run(environ, start):
        if when == 'call':
            raise error
        start('200 OK', PLAIN)
        if when == 'started':
            raise error
        return body(error, when)
    return run


def body(error, when):
    if when == 'first':
        raise error
    yield b'some'
    raise error


def recursion(environ, start):
    def down():
        down()
    down()


def memory(environ, start):
    bytearray(1 << 62)


def stdout_gone(environ, start):
    sys.stdout = None
    sys.stderr = io.StringIO()
    raise ValueError('without stderr')


def close_descriptors(environ, start):
    for fd in (0, 1, 2):
        try:
            os.close(fd)
        except OSError:
            pass
    start('200 OK', PLAIN)
    return [b'closed']


def printing(environ, start):
    for fd in (1, 2):
        try:
            os.write(fd, b'into the wrong place')
        except OSError:
            pass
    start('200 OK', PLAIN)
    return [b'printed']


def fork_well(environ, start):
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    start('200 OK', PLAIN)
    return [str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()]


def fork_and_exit(environ, start):
    pid = os.fork()
    if pid == 0:
        sys.exit(5)
    start('200 OK', PLAIN)
    return [str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()]


def fork_and_return(environ, start):
    pid = os.fork()
    start('200 OK', PLAIN)
    if pid == 0:
        return [b'from the child']
    return [str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()]


def fork_and_raise(environ, start):
    pid = os.fork()
    if pid == 0:
        raise ValueError('in the child')
    start('200 OK', PLAIN)
    return [str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()]


def fork_in_body(environ, start):
    start('200 OK', PLAIN)
    pid = os.fork()
    if pid == 0:
        raise SystemExit
    yield str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()


def close_everything(environ, start):
    os.closerange(3, 1024)
    if environ['QUERY_STRING']:
        for _ in range(30):
            os.open('/dev/null', os.O_RDWR)
    start('200 OK', PLAIN)
    return [b'closed']


def run_program(environ, start):
    import subprocess
    start('200 OK', PLAIN)
    return [subprocess.run(['echo', 'hi'], capture_output=True).stdout]


PATHS = {
    '/value': raising(ValueError('plain')), '/started': raising(ValueError('plain'), 'started'), '/first': raising(ValueError('plain'), 'first'),
    '/middle': raising(ValueError('plain'), 'middle'), '/exit': raising(SystemExit(3)), '/exit-middle': raising(SystemExit(3), 'middle'),
    '/interrupt': raising(KeyboardInterrupt()), '/generator-exit': raising(GeneratorExit()), '/stop-iteration': raising(StopIteration()),
    '/own': raising(Own('own')), '/odd': raising(Odd()), '/recursion': recursion, '/memory': memory, '/os-error': raising(BrokenPipeError('mine')),
    '/umlaut': raising(ValueError('gr\\xfc\\xdfe \\u20ac \\udc80')), '/stdout': stdout_gone, '/descriptors': close_descriptors,
    '/fork': fork_well, '/fork-exit': fork_and_exit, '/fork-return': fork_and_return, '/fork-raise': fork_and_raise, '/fork-body': fork_in_body,
    '/program': run_program, '/everything': close_everything, '/print': printing,
}


def application(environ, start_response):
    if environ['PATH_INFO'] == '/pid':
        start_response('200 OK', PLAIN)
        return [str(os.getpid()).encode()]
    return PATHS[environ['PATH_INFO']](environ, start_response)
'''


@pytest.fixture(scope='module')
def server(module_cserve):
    server = module_cserve(app=APP)
    server.first_pid = server.get('/pid').text
    return server


def assert_same_worker(server):
    assert server.get('/pid').text == server.first_pid


@pytest.mark.parametrize('path, words', [
    ('/value', ['error while serving GET /value?x=1', 'Traceback (most recent call last)', 'ValueError: plain']),
    ('/started', ['ValueError: plain']),
    ('/first', ['ValueError: plain']),
    ('/exit', ['the application raised SystemExit(3) while serving GET /exit?x=1']),
    ('/interrupt', ['the application raised KeyboardInterrupt() while serving GET /interrupt?x=1']),
    ('/generator-exit', ['the application raised GeneratorExit() while serving']),
    ('/stop-iteration', ['StopIteration']),
    ('/own', ['Own: own']),
    ('/odd', ['Odd']),
    ('/recursion', ['RecursionError']),
    ('/memory', ['MemoryError']),
    ('/os-error', ['BrokenPipeError: mine']),
    ('/umlaut', ['ValueError: gr\xfc\xdfe \u20ac \\udc80']),
    ('/stdout', ['ValueError: without stderr']),
])
def test_an_exception_is_a_500_with_its_traceback(server, path, words):
    mark = server.log_mark()
    response = server.get(path + '?x=1')
    assert (response.status, response['Content-Type']) == (500, 'text/plain')
    assert b'Traceback' not in response.body
    log = server.log(mark)
    assert all(w in log for w in words), log
    assert len([m for m in server.log_lines(mark) if m[2] == 'error']) == 1
    assert_same_worker(server)


@pytest.mark.parametrize('path', ['/middle', '/exit-middle'])
def test_an_exception_behind_the_head_cuts_the_response(server, path):
    mark = server.log_mark()
    with server.connect() as c:
        c.send(request(path))
        with pytest.raises(ConnectionEnded):
            c.response()
    assert f'GET {path}' in server.log(mark)
    assert_same_worker(server)


@pytest.mark.parametrize('path, answer', [('/fork', b'7'), ('/fork-exit', b'5'), ('/fork-return', b'1'), ('/fork-raise', b'1'), ('/fork-body', b'0'),
                                          ('/program', b'hi\n')])
def test_applications_that_fork(server, path, answer):
    mark = server.log_mark()
    for _ in range(2):
        with server.connect() as c:
            assert c.get(path).body == answer
            assert not c.has_news(0.05)
    assert ('did not end by itself' in server.log(mark)) == (path in ('/fork-return', '/fork-raise'))
    assert_same_worker(server)


def test_closed_descriptors_do_not_meet_the_client(cserve):
    server = cserve(app=APP)
    assert server.get('/descriptors').body == b'closed'
    with server.connect() as c, server.connect() as other:
        for _ in range(3):
            assert c.get('/print').body == other.get('/print').body == b'printed'
        assert c.get('/value').status == 500
    assert 'ValueError: plain' in server.log()


@pytest.mark.parametrize('path', ['/everything', '/everything?reuse'])
@pytest.mark.parametrize('threads', ['1', '2'])
def test_a_worker_whose_descriptors_are_closed_is_replaced(cserve, path, threads):
    """Its epoll set as well: it could neither serve nor be told to end."""
    server = cserve(app=APP, settings={'threads': threads})
    first = server.get('/pid').text
    with server.connect() as c:
        c.send(request(path))
        with pytest.raises((ConnectionEnded, ConnectionResetError)):
            c.response()
    with contextlib.suppress(ConnectionEnded, ConnectionResetError):
        server.get('/pid')  # it may have to come to learn it
    server.wait_for_log('ended itself: the application has closed descriptors of the server')
    assert until(lambda: server.get('/pid'), 'an answer').text != first


def test_stdout_of_an_application_is_its_own_business(cserve):
    server = cserve(app='''
def application(environ, start_response):
    print('printed line', flush=True)
    start_response('200 OK', [])
    return [b'']
''')
    server.get()
    assert 'printed line' in server.stdout()


def test_capture_output(cserve):
    server = cserve(app='''
import os, sys
def application(environ, start_response):
    print('to stdout')
    print('to stderr', file=sys.stderr)
    os.system('echo from a child')
    start_response('200 OK', [])
    return [b'']
''', settings={'capture_output': 'true', 'errorlog': 'captured.log'}, args=['--errorlog', 'captured.log'], wait=False)
    log = server.directory / 'captured.log'
    until(lambda: log.exists() and 'is ready' in log.read_text(), 'a ready worker')
    server.get()
    text = log.read_text()
    assert 'to stdout\n' in text and 'to stderr\n' in text and 'from a child\n' in text


def test_a_hang_is_dumped_with_its_line(cserve):
    server = cserve(app='''
import time
def application(environ, start_response):
    time.sleep(60)  # the line that hangs
''', settings={'timeout': '500ms'})
    with server.connect() as c:
        c.send(request('/hang'))
        server.wait_for_log(r'File ".*app\.py", line 4 in application')


def test_sigint_does_not_interrupt_the_application(cserve):
    server = cserve(app=APP)
    pid = int(server.get('/pid').text)
    os.kill(pid, signal.SIGUSR2)  # none of Python's business either
    assert server.get('/pid').status == 200


def test_a_request_beyond_the_timeout_is_interrupted(cserve):
    server = cserve(app='''
import time
import cserve


def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/':
        return [b'hello']
    try:
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                pass
    except cserve.RequestTimeout:
        environ['wsgi.errors'].write('interrupted\\n')
        raise
''', settings={'threads': '2', 'timeout': '500ms'})
    assert server.get('/slow').status == 504
    server.wait_for_log('interrupted')
    until(lambda: server.get().body == b'hello', 'an answer')
