"""PEP 3333 from start_response() to close(), corner by corner."""
import pytest

from support.http import ConnectionEnded, request
from support.wait import until

pytestmark = pytest.mark.core

APP = '''
import sys
import threading

PLAIN = [('Content-Type', 'text/plain')]
CLOSED = []
KEPT = {}


class Body:
    """An iterable that counts its close()."""
    def __init__(self, pieces, name='body', fail_at=None, close_fails=False):
        self.pieces, self.name, self.fail_at, self.close_fails = pieces, name, fail_at, close_fails

    def __iter__(self):
        for i, piece in enumerate(self.pieces):
            if i == self.fail_at:
                raise ValueError('in the middle')
            yield piece

    def close(self):
        CLOSED.append(self.name)
        if self.close_fails:
            raise ValueError('close() fails')


class Sized(Body):
    def __len__(self):
        return len(self.pieces)


class Text(str):
    pass


class MyBytes(bytes):
    pass


class MyList(list):
    pass


def hello(environ, start):
    start('200 OK', PLAIN)
    return [b'hello']


def once(pieces):
    def run(environ, start):
        start('200 OK', PLAIN)
        return pieces
    return run


def twice(environ, start):
    start('200 OK', PLAIN)
    start('200 OK', PLAIN)
    return [b'no']


def twice_with_exc_info(environ, start):
    start('200 OK', [('X-First', '1'), ('Content-Length', '3')])
    try:
        raise KeyError('x')
    except KeyError:
        start('500 Sorry', [('X-Second', '2')], sys.exc_info())
    return [b'sorry']


def exc_info_after_head(environ, start):
    start('200 OK', PLAIN)
    yield b'first'
    try:
        raise KeyError('too late')
    except KeyError:
        start('500 Sorry', PLAIN, sys.exc_info())
    yield b'never'


def exc_info_none(environ, start):
    start('200 OK', PLAIN, None)
    return [b'fine']


def by_name(environ, start):
    start(status='200 OK', response_headers=PLAIN, exc_info=None)
    return [b'named']


def inside_iteration(environ, start):
    yield b''
    start('200 OK', PLAIN)
    yield b'a'
    yield b''
    yield b'b'


def writing(environ, start):
    write = start('200 OK', PLAIN)
    write(b'a')
    write(b'')
    write(b'b')
    return [b'c']


def writing_only(environ, start):
    write = start('200 OK', [('Content-Length', '2')])
    write(b'ab')
    return []


def keep(environ, start):
    """Keeps all that is bound to a request."""
    write = start('200 OK', PLAIN)
    KEPT.setdefault('start', []).append(start)
    KEPT.setdefault('write', []).append(write)
    KEPT.setdefault('hints', []).append(environ['wsgi.early_hints'])
    KEPT.setdefault('gone', []).append(environ['cserve.client_gone'])
    KEPT.setdefault('input', []).append(environ['wsgi.input'])
    return [b'kept']


def use_kept(environ, start):
    start('200 OK', PLAIN)
    out = []
    for start_response in KEPT['start']:
        try:
            start_response('200 OK', [])
        except RuntimeError:
            out.append('start')
    for write in KEPT['write']:
        try:
            write(b'into another response')
        except RuntimeError:
            out.append('write')
    for hints in KEPT['hints']:
        try:
            hints([('Link', '</x>')])
        except RuntimeError:
            out.append('hints')
    out += ['gone' for gone in KEPT['gone'] if gone()]
    for stream in KEPT['input']:
        try:
            stream.read()
        except ValueError:
            out.append('input')
    return [' '.join(out).encode()]


def hints(environ, start):
    environ['wsgi.early_hints']([('Link', '</style.css>; rel=preload'), ('Link', '</x.js>; rel=preload')])
    start('200 OK', PLAIN)
    return [b'hinted']


def bad_hints(environ, start):
    environ['wsgi.early_hints']([('Link', 'a\\r\\nInjected: 1')])


def hint_of_a_length(environ, start):
    environ['wsgi.early_hints']([('Content-Length', '5')])


def from_thread(environ, start):
    """The application runs elsewhere while its thread waits."""
    out = []
    def run():
        out.append(start('200 OK', PLAIN))
        out[0](b'threaded')
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return []


def bad(status='200 OK', headers=PLAIN, body=[b'no']):
    def run(environ, start):
        start(status, headers)
        return body
    return run


def late_start(environ, start):
    return Body([b'body without a head'])


def generator_in_close(environ, start):
    start('200 OK', PLAIN)
    try:
        yield b'one'
        yield b'two'
    finally:
        CLOSED.append('generator')


def endless(environ, start):
    start('200 OK', PLAIN)
    try:
        while True:
            yield b'x' * 65536
    finally:
        CLOSED.append('endless')


PATHS = {
    '/hello': hello, '/tuple': once((b'a', b'b')), '/list': once([b'a', b'', b'bc']), '/empty-list': once([]), '/empty-piece': once([b'']),
    '/empty-generator': once(iter(())), '/my-bytes': once([MyBytes(b'mine')]), '/my-list': once(MyList([b'a', b'b'])),
    '/single-sized': lambda e, s: once(Sized([b'sized']))(e, s), '/single-unsized': lambda e, s: once(Body([b'unsized']))(e, s),
    '/many-small': once([b'%04d' % i for i in range(10000)]), '/large-and-small': once([b'a', b'L' * 300000, b'b', b'M' * 40000, b'c' * 20000]),
    '/twice': twice, '/twice-exc-info': twice_with_exc_info, '/exc-info-late': exc_info_after_head, '/exc-info-none': exc_info_none,
    '/by-name': by_name, '/inside': inside_iteration, '/writing': writing, '/writing-only': writing_only, '/keep': keep, '/kept': use_kept,
    '/hints': hints, '/bad-hints': bad_hints, '/hint-of-length': hint_of_a_length, '/thread': from_thread, '/late-start': late_start,
    '/bad/status-bytes': bad(b'200 OK'), '/bad/status-int': bad(200), '/bad/status-short': bad('200'), '/bad/status-1xx': bad('103 Early Hints'),
    '/bad/status-crlf': bad('200 OK\\r\\nX: y'), '/bad/status-wide': bad('200 \\u20ac'),
    '/bad/headers-tuple': bad(headers=(('A', 'b'),)), '/bad/headers-dict': bad(headers={'A': 'b'}), '/bad/header-list': bad(headers=[['A', 'b']]),
    '/bad/header-bytes': bad(headers=[('A', b'b')]), '/bad/header-name-bytes': bad(headers=[(b'A', 'b')]), '/bad/header-int': bad(headers=[('Content-Length', 5)]),
    '/bad/header-wide': bad(headers=[('A', '\\u20ac')]), '/bad/header-crlf': bad(headers=[('A', 'b\\r\\nC: d')]), '/bad/header-lf': bad(headers=[('A', 'b\\nC: d')]),
    '/bad/header-nul': bad(headers=[('A', 'b\\0')]), '/bad/header-name': bad(headers=[('A b', 'c')]), '/bad/header-empty': bad(headers=[('', 'c')]),
    '/bad/hop-connection': bad(headers=[('Connection', 'close')]), '/bad/hop-te': bad(headers=[('Transfer-Encoding', 'chunked')]),
    '/bad/hop-upgrade': bad(headers=[('Upgrade', 'x')]), '/bad/lengths': bad(headers=[('Content-Length', '1'), ('Content-Length', '1')]),
    '/bad/length': bad(headers=[('Content-Length', 'x')]),
    '/bad/body-str': bad(body=['text']), '/bad/body-str-itself': bad(body='text'), '/bad/body-bytes-itself': bad(body=b'bytes'), '/bad/body-none': bad(body=None),
    '/bad/body-int': bad(body=[1]), '/bad/body-bytearray': bad(body=[bytearray(b'x')]), '/bad/body-mixed': bad(body=[b'x', 'y']), '/bad/body-number': bad(body=7),
    '/bad/generator-str': lambda e, s: bad(body=(x for x in ['text']))(e, s), '/bad/no-start': lambda e, s: [b'x'],
    '/bad/no-start-empty': lambda e, s: [], '/bad/no-arguments': lambda e, s: s(), '/bad/four': lambda e, s: s('200 OK', [], None, 1),
    '/bad/unknown-name': lambda e, s: s('200 OK', [], x=1), '/bad/exc-info': lambda e, s: s('200 OK', [], 'x'),
    '/text': bad(Text('200 OK'), [(Text('X-A'), Text('b'))], [b'subclassed']),
    '/latin1': bad('200 \\xe4', [('X-A', '\\xfc')], [b'latin']),
    '/close/ok': lambda e, s: once(Body([b'a', b'b'], 'ok'))(e, s),
    '/close/error': lambda e, s: once(Body([b'a', b'b'], 'error', fail_at=1))(e, s),
    '/close/error-first': lambda e, s: once(Body([b'a'], 'error-first', fail_at=0))(e, s),
    '/close/failing': lambda e, s: once(Body([b'a'], 'failing', close_fails=True))(e, s),
    '/close/both': lambda e, s: once(Body([b'a'], 'both', fail_at=0, close_fails=True))(e, s),
    '/close/no-start': lambda e, s: Body([b'a'], 'no-start'), '/close/str': lambda e, s: once(Body(['a'], 'str'))(e, s),
    '/close/list': lambda e, s: once(type('L', (list,), {'close': lambda self: CLOSED.append('list')})([b'a']))(e, s),
    '/close/generator': generator_in_close, '/close/endless': endless,
    '/length/short': bad(headers=[('Content-Length', '3')], body=[b'abcdef']), '/length/long': bad(headers=[('Content-Length', '9')], body=[b'abc']),
    '/length/generator-short': lambda e, s: bad(headers=[('Content-Length', '3')], body=(x for x in [b'ab', b'cd', b'ef']))(e, s),
    '/204': bad('204 No Content', [], []), '/304': bad('304 Not Modified', [('ETag', '"x"')], []), '/204-body': bad('204 No Content', [], [b'dropped']), '/204-length': bad('204 No Content', [('Content-Length', '7')], [b'dropped']),
    '/205': bad('205 Reset Content', [], []), '/205-body': bad('205 Reset Content', [], [b'dropped']),
    '/205-length': bad('205 Reset Content', [('Content-Length', '7')], [b'dropped']), '/205-stream': bad('205 Reset Content', [], iter([b'dropped'])),
}


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/closed':
        start_response('200 OK', PLAIN)
        names, CLOSED[:] = ' '.join(CLOSED), []
        return [names.encode()]
    return PATHS[path](environ, start_response)
'''


@pytest.fixture(scope='module')
def server(module_cserve):
    return module_cserve(app=APP, settings={'loglevel': 'debug'})


def closed(server):
    return server.get('/closed').text.split()


@pytest.mark.parametrize('path, body, length', [
    ('/hello', b'hello', '5'),
    ('/tuple', b'ab', '2'),
    ('/list', b'abc', '3'),
    ('/empty-list', b'', '0'),
    ('/empty-piece', b'', '0'),
    ('/empty-generator', b'', '0'),
    ('/my-bytes', b'mine', '4'),
    ('/my-list', b'ab', None),
    ('/single-sized', b'sized', '5'),
    ('/single-unsized', b'unsized', None),
    ('/many-small', b''.join(b'%04d' % i for i in range(10000)), '40000'),
    ('/large-and-small', b'a' + b'L' * 300000 + b'b' + b'M' * 40000 + b'c' * 20000, '360002'),
    ('/twice-exc-info', b'sorry', '5'),
    ('/exc-info-none', b'fine', '4'),
    ('/by-name', b'named', '5'),
    ('/inside', b'ab', None),
    ('/writing', b'abc', None),
    ('/writing-only', b'ab', '2'),
    ('/text', b'subclassed', '10'),
    ('/latin1', b'latin', '5'),
    ('/thread', b'threaded', None),
])
def test_bodies_and_their_lengths(server, path, body, length):
    with server.connect() as c:
        for _ in range(2):
            response = c.get(path)
            assert response.body == body
            assert response['Content-Length'] == length
            assert response.framing == ('length' if length else 'chunked')
            assert 0 not in response.chunks
    response = server.raw(request(path, version='1.0'))
    assert response.body == body
    assert response.framing == ('length' if length else 'close')


def test_head_has_the_fields_of_get_and_no_body(server):
    with server.connect() as c:
        get, head = c.get('/hello'), c.get('/hello', method='HEAD')
        assert head.body == b'' and head['Content-Length'] == get['Content-Length'] == '5'
        assert c.get('/inside', method='HEAD').body == b''
        assert c.get('/hello').body == b'hello'


@pytest.mark.parametrize('path', ['/204', '/304', '/204-body', '/204-length', '/205', '/205-body', '/205-length', '/205-stream'])
def test_statuses_without_a_body(server, path):
    """RFC 9110, 15.3.5, 15.3.6 and 15.4.5: 205 says so by a length of zero."""
    with server.connect() as c:
        response = c.get(path)
        assert response.status == int(path[1:4]) and response.body == b''
        assert response['Content-Length'] == ('0' if response.status == 205 else None)
        assert c.get('/hello').body == b'hello'


def test_a_second_head_replaces_the_first(server):
    response = server.get('/twice-exc-info')
    assert (response.status, response.reason, response['X-Second'], response['X-First']) == (500, 'Sorry', '2', None)


def test_latin1_goes_out_as_it_is(server):
    response = server.get('/latin1')
    assert (response.reason, response['X-A']) == ('\xe4', '\xfc')


@pytest.mark.parametrize('path, words', [
    ('/twice', 'AssertionError: start_response() was called before'),
    ('/bad/status-bytes', 'TypeError: the status must be str, not bytes'),
    ('/bad/status-int', 'TypeError: the status must be str, not int'),
    ('/bad/status-short', "ValueError: the status '200' is refused"),
    ('/bad/status-1xx', 'interim'),
    ('/bad/status-crlf', 'control characters'),
    ('/bad/status-wide', r"ValueError: the status '200 \u20ac' has characters that are not Latin-1"),
    ('/bad/headers-tuple', 'TypeError: the headers must be a list, not tuple'),
    ('/bad/headers-dict', 'TypeError: the headers must be a list, not dict'),
    ('/bad/header-list', "TypeError: a header must be a tuple (name, value), not ['A', 'b']"),
    ('/bad/header-bytes', "TypeError: a header's value must be str, not bytes"),
    ('/bad/header-name-bytes', "TypeError: a header's name must be str, not bytes"),
    ('/bad/header-int', "TypeError: a header's value must be str, not int"),
    ('/bad/header-wide', 'not Latin-1'),
    ('/bad/header-crlf', 'control characters'),
    ('/bad/header-lf', 'control characters'),
    ('/bad/header-nul', 'control characters'),
    ('/bad/header-name', 'not a token'),
    ('/bad/header-empty', 'not a token'),
    ('/bad/hop-connection', 'hop-by-hop'),
    ('/bad/hop-te', 'hop-by-hop'),
    ('/bad/hop-upgrade', 'hop-by-hop'),
    ('/bad/lengths', 'Content-Length'),
    ('/bad/length', 'Content-Length'),
    ('/bad/body-str', 'TypeError: a WSGI application must yield bytes, not str'),
    ('/bad/body-str-itself', 'TypeError: a WSGI application must return an iterable of bytes, not str'),
    ('/bad/body-bytes-itself', 'TypeError: a WSGI application must return an iterable of bytes, not bytes'),
    ('/bad/body-none', 'TypeError: a WSGI application must return an iterable of bytes, not NoneType'),
    ('/bad/body-int', 'TypeError: a WSGI application must yield bytes, not int'),
    ('/bad/body-bytearray', 'TypeError: a WSGI application must yield bytes, not bytearray'),
    ('/bad/body-mixed', 'TypeError: a WSGI application must yield bytes, not str'),
    ('/bad/body-number', "TypeError: 'int' object is not iterable"),
    ('/bad/generator-str', 'TypeError: a WSGI application must yield bytes, not str'),
    ('/bad/no-start', 'without having called start_response()'),
    ('/bad/no-start-empty', 'without having called start_response()'),
    ('/bad/no-arguments', 'TypeError: start_response() takes'),
    ('/bad/four', 'TypeError: start_response() takes'),
    ('/bad/unknown-name', "TypeError: start_response(): argument 'x'"),
    ('/bad/exc-info', 'TypeError: exc_info must be a tuple'),
    ('/bad-hints', 'control characters'),
    ('/hint-of-length', 'Content-Length, which an interim response has not'),
    ('/late-start', 'without having called start_response()'),
])
def test_what_breaks_the_rules_is_a_500_and_says_why(server, path, words):
    mark = server.log_mark()
    response = server.get(path)
    assert response.status == 500
    log = server.log(mark)
    assert words in log and f'while serving GET {path}' in log
    assert not response.all('X') and not response.all('C')
    assert server.get('/hello').body == b'hello'


def test_exc_info_after_the_head_raises_and_cuts(server):
    mark = server.log_mark()
    with server.connect() as c:
        c.send(request('/exc-info-late'))
        with pytest.raises(ConnectionEnded):
            c.response()
    assert "KeyError: 'too late'" in server.log(mark)


@pytest.mark.parametrize('name', ['ok', 'error', 'error-first', 'failing', 'both', 'no-start', 'str', 'list', 'generator'])
def test_close_is_called_once(server, name):
    closed(server)
    mark = server.log_mark()
    with server.connect() as c:
        c.send(request(f'/close/{name}'))
        try:
            c.response()
        except ConnectionEnded:
            assert name == 'error'
    assert closed(server) == [name]
    if name in ('failing', 'both'):
        assert 'error in close() after GET /close/' in server.log(mark)


def test_close_is_called_when_the_client_goes(server):
    closed(server)
    mark = server.log_mark()
    with server.connect(receive_buffer=4096) as c:
        c.send(request('/close/endless'))
        c.response(head_only=True)
        c.reset()
    until(lambda: 'endless' in closed(server), 'close() of an endless body')
    assert not server.log_lines(mark, 'error')


def test_generator_pieces_leave_one_by_one(cserve):
    server = cserve(app='''
import time, os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'first'
    while not os.path.exists('go'):
        time.sleep(0.01)
    yield b'second'
''')
    with server.connect() as c:
        seen = []

        def on_chunk(data):
            seen.append(data)
            if len(seen) == 1:
                (server.app_directory / 'go').write_text('')  # had the first piece been withheld, we would wait for ever
        c.send(request('/'))
        c.response(on_chunk=on_chunk)
    assert seen == [b'first', b'second']


def test_too_short_a_length_drops_the_excess(server):
    for path in ('/length/short', '/length/generator-short'):
        mark = server.log_mark()
        with server.connect() as c:
            response = c.get(path)
            assert response.body == b'abc' and response.closes is False or response.body == b'abc'
            c.expect_close()
        assert 'longer than its Content-Length' in server.log(mark)


def test_too_long_a_length_cuts_the_connection(server):
    mark = server.log_mark()
    with server.connect() as c:
        c.send(request('/length/long'))
        with pytest.raises(ConnectionEnded):
            c.response()
    assert 'Content-Length' in server.log(mark)


def test_what_an_application_keeps_is_harmless(server):
    for _ in range(3):
        assert server.get('/keep').body == b'kept'
    assert server.get('/keep', method='POST', body=b'x').body == b'kept'
    response = server.get('/kept')
    words = response.text.split()
    assert {w: words.count(w) for w in words} == {'start': 4, 'write': 4, 'hints': 4, 'gone': 4, 'input': 1}
    assert server.get('/hello').body == b'hello'


def test_early_hints(server):
    with server.connect() as c:
        c.send(request('/hints'))
        interim = c.response()
        assert (interim.status, interim.all('Link')) == (103, ['</style.css>; rel=preload', '</x.js>; rel=preload'])
        assert c.response().body == b'hinted'
        assert c.get('/hello').body == b'hello'
    with server.connect() as c:
        c.send(request('/hints', version='1.0'))
        assert c.response().body == b'hinted'


def test_client_gone(cserve):
    server = cserve(app='''
import time
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/wait':
        end = time.monotonic() + 60
        environ['wsgi.errors'].write('waiting for the client to go\\n')
        while not environ['cserve.client_gone']() and time.monotonic() < end:
            time.sleep(0.01)
        environ['wsgi.errors'].write('the client has gone\\n')
    return [str(environ['cserve.client_gone']()).encode()]
''')
    assert server.get('/').body == b'False'
    with server.connect() as c:
        c.send(request('/wait'))
        server.wait_for_log('waiting for the client to go')
        c.reset()
    server.wait_for_log('the client has gone')


def test_a_constant_header_is_sent_as_a_fresh_one_is(cserve):
    """Tuples that come again and again take another way through the gateway than new ones."""
    server = cserve(app='''
HEADERS = [('Content-Type', 'text/plain'), ('content-LENGTH', '5'), ('Server', 'mine'), ('X-Latin', 'caf\\xe9'), ('X-Long', 'l' * 500)]
TWICE = ('Content-Length', '5')
def application(environ, start_response):
    fresh = [tuple(list(header)) for header in HEADERS]
    path = environ['PATH_INFO']
    start_response('200 OK', {'/constant': HEADERS, '/fresh': fresh, '/twice': [TWICE, TWICE]}[path])
    return [b'hello']
''')
    with server.connect() as c:
        answers = [[(name, value) for name, value in c.get(path).fields if name != 'Date'] for path in ['/fresh', '/constant'] * 4]
        assert all(answer == answers[0] for answer in answers)
        assert ('content-LENGTH', '5') in answers[0] and ('Server', 'mine') in answers[0]
    for _ in range(4):
        assert server.get('/twice').status == 500
    assert 'a second Content-Length' in server.log()
