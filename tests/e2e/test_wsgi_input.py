"""wsgi.input and wsgi.errors."""
import io
import random

import pytest

from support.http import request

pytestmark = pytest.mark.core

APP = '''
import json


def read_by(how, stream):
    if how == 'read':
        return [stream.read()]
    if how == 'read-none':
        return [stream.read(None)]
    if how == 'read-minus':
        return [stream.read(-1)]
    if how == 'read-7':
        return list(iter(lambda: stream.read(7), b''))
    if how == 'read-64k':
        return list(iter(lambda: stream.read(65536), b''))
    if how == 'readline':
        return list(iter(stream.readline, b''))
    if how == 'readline-5':
        return list(iter(lambda: stream.readline(5), b''))
    if how == 'readlines':
        return stream.readlines()
    if how == 'readlines-10':
        return list(iter(lambda: b''.join(stream.readlines(10)), b''))
    if how == 'iterate':
        return list(stream)
    if how == 'mixed':
        return [stream.readline(), stream.read(3), stream.read(0), next(stream, b''), stream.read(), stream.read(), stream.readline()]
    raise LookupError(how)


def application(environ, start_response):
    stream = environ['wsgi.input']
    pieces = read_by(environ['QUERY_STRING'], stream)
    assert stream.read() == stream.read(5) == stream.readline() == b'' and stream.readlines() == list(stream) == []
    assert iter(stream) is stream
    for bad in (lambda: stream.read('x'), lambda: stream.read(1, 2), lambda: stream.readline(1.5)):
        try:
            bad()
        except TypeError:
            continue
        raise AssertionError('no TypeError')
    body = json.dumps([p.decode('latin-1') for p in pieces]).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
'''

HOWS = ['read', 'read-none', 'read-minus', 'read-7', 'read-64k', 'readline', 'readline-5', 'readlines', 'readlines-10', 'iterate', 'mixed']


def expected(how, body):
    space = {}
    exec(APP, space)
    return [p.decode('latin-1') for p in space['read_by'](how, io.BytesIO(body))]


def bodies():
    dice = random.Random(1)
    text = b''.join(bytes(dice.choices(b'abc\n', k=dice.randrange(40))) + b'\n' for _ in range(2000))
    return {'none': b'', 'short': b'one\ntwo\r\nthree', 'lines': b'\n\n\n', 'no-end': b'x' * 9000, 'text': text, 'wide': b'y' * 20000 + b'\nz' * 3}


@pytest.fixture(scope='module')
def in_memory(module_cserve):
    return module_cserve(app=APP)


@pytest.fixture(scope='module')
def in_file(module_cserve):
    return module_cserve(app=APP, settings={'body_buffer': '1'})


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize('name', bodies())
@pytest.mark.parametrize('place', ['in_memory', 'in_file'])
def test_reading(request_of, how, name, place):
    body = bodies()[name]
    assert request_of(place, how, body) == expected(how, body)


@pytest.fixture
def request_of(in_memory, in_file):
    def run(place, how, body):
        server = {'in_memory': in_memory, 'in_file': in_file}[place]
        response = server.get('/?' + how, method='POST', body=body)
        assert response.status == 200, server.output()
        import json
        return json.loads(response.body)
    return run


def test_chunked(in_memory):
    data = b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in (b'one\ntw', b'o\n', b'three')) + b'0\r\n\r\n'
    response = in_memory.raw(request('/?readlines', 'Transfer-Encoding: chunked', 'Connection: close', method='POST') + data)
    assert response.body == b'["one\\n", "two\\n", "three"]'


def test_an_unread_body_does_not_hurt_the_next_request(cserve):
    server = cserve(app='''
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['REQUEST_METHOD'].encode()]
''')
    with server.connect() as c:
        for _ in range(3):
            assert c.get('/', method='POST', body=b'GET / HTTP/1.1\r\n\r\n').body == b'POST'
            assert c.get('/').body == b'GET'


def test_errors_stream(cserve):
    server = cserve(app='''
import traceback
def application(environ, start_response):
    errors = environ['wsgi.errors']
    errors.write('one line\\n')
    errors.write('part one, ')
    errors.write('part two\\nthe rest')
    errors.flush()
    errors.writelines(['a\\n', 'b\\n'])
    errors.write('gr\\xfc\\xdfe \\u20ac \\udc80\\n')
    errors.write('two\\nlines\\n')
    errors.write('x' * 10000 + '\\n')
    print('printed', file=errors)
    try:
        1 / 0
    except ZeroDivisionError:
        traceback.print_exc(file=errors)
    try:
        errors.write(b'bytes')
    except TypeError as e:
        errors.write(f'{e}\\n')
    errors.write('forged\\n[2026-01-01] [master 1] [info] not from here\\n')
    start_response('200 OK', [])
    return [b'']
''')
    assert server.get().status == 200
    lines = [m for _, _, level, m in server.log_lines() if level == 'error']
    for line in ('one line', 'part one, part two', 'the rest', 'a', 'b', 'gr\xfc\xdfe \u20ac \\udc80', 'two', 'printed',
                 'ZeroDivisionError: division by zero', 'wsgi.errors takes str, not bytes', 'forged'):
        assert line in lines
    assert '    lines\n' in server.log()
    assert '    ' + 'x' * 10000 + '\n' in server.log()
    assert not [line for line in server.log().splitlines() if line.startswith('[2026-01-01]')]
