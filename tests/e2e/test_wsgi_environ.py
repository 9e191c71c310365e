"""environ, as PEP 3333 and Gunicorn's users expect it, by every way that the gateway has of making one."""
import json

import pytest

from support.http import request
from support.wait import until

pytestmark = pytest.mark.core

APP = '''
import json

KEPT = []


def application(environ, start_response):
    assert type(environ) is dict
    seen = {k: v for k, v in environ.items() if isinstance(v, (str, bool, int, tuple))}
    assert all(type(v) is str for k, v in environ.items() if k[0].isupper())
    path = environ['PATH_INFO']
    if path == '/spoil':
        KEPT.append(environ)  # an application may do what it wants with its own
        for key in list(environ):
            environ[key] = 'spoiled'
        environ['HTTP_SPOILED'] = 'yes'
    if path == '/clear':
        environ.clear()
    if path == '/objects':
        seen = {k: (type(v).__name__, callable(v)) for k, v in environ.items() if not isinstance(v, (str, bool, int, tuple))}
    body = json.dumps(seen).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]
'''

BROWSER = ('Connection: keep-alive', 'User-Agent: Mozilla/5.0 (X11; Linux x86_64)', 'Accept: text/html,*/*;q=0.8',
           'Accept-Language: de, en;q=0.5', 'Cookie: a=1; b=2', 'Cookie: c=3', 'X-Custom-Thing: one', 'x-custom-thing: two',
           'X-Umlaut: gr\xfc\xdfe', 'X-Empty:')


@pytest.fixture(scope='module')
def server(module_cserve):
    return module_cserve(app=APP)


def environ_of(response):
    assert response.status == 200, response
    return json.loads(response.body)


def get(server, path='/', *fields, **options):
    return environ_of(server.raw(request(path, 'Connection: close', *fields, **options)))


def test_keys_of_a_plain_get(server):
    environ = get(server, '/a/b?c=d&e=%20')
    assert environ == {
        'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': '/a/b', 'QUERY_STRING': 'c=d&e=%20', 'SERVER_PROTOCOL': 'HTTP/1.1',
        'RAW_URI': '/a/b?c=d&e=%20', 'REQUEST_URI': '/a/b?c=d&e=%20', 'SERVER_NAME': '127.0.0.1', 'SERVER_PORT': str(server.port),
        'REMOTE_ADDR': '127.0.0.1', 'REMOTE_PORT': environ['REMOTE_PORT'], 'SERVER_SOFTWARE': environ['SERVER_SOFTWARE'],
        'HTTP_HOST': 'test', 'HTTP_CONNECTION': 'close', 'wsgi.version': [1, 0], 'wsgi.url_scheme': 'http', 'wsgi.multithread': False,
        'wsgi.multiprocess': False, 'wsgi.run_once': False, 'wsgi.input_terminated': True,
    }
    assert environ['SERVER_SOFTWARE'].startswith('cserve/')
    assert 0 < int(environ['REMOTE_PORT']) < 65536


def test_objects(server):
    objects = get(server, '/objects')
    assert set(objects) == {'wsgi.input', 'wsgi.errors', 'wsgi.file_wrapper', 'wsgi.early_hints', 'cserve.client_gone'}
    assert [k for k, (_, is_callable) in objects.items() if is_callable] != []


def test_multiprocess_with_several_workers(cserve):
    assert environ_of(cserve(app=APP, workers=2).get())['wsgi.multiprocess'] is True


@pytest.mark.parametrize('target, path', [
    ('/%41%2fb', '/A/b'),
    ('/gr%C3%BC%C3%9Fe', '/gr\xc3\xbc\xc3\x9fe'),
    ('/%E4', '/\xe4'),
    ('/%25%32', '/%2'),
    ('/a%20b?q=%20', '/a b'),
    ('/a//b/../c/./', '/a//b/../c/./'),
    ('/%7euser', '/~user'),
    ('http://test/x%21?y', '/x!'),
])
def test_path_is_decoded_once_and_as_latin1(server, target, path):
    environ = get(server, target)
    assert environ['PATH_INFO'] == path
    assert environ['RAW_URI'] == environ['REQUEST_URI'] == target
    assert environ['QUERY_STRING'] == (target.split('?', 1)[1] if '?' in target else '')


@pytest.mark.parametrize('target', ['/%00', '/a%00b', '/%00?x'])
def test_an_encoded_nul_is_refused(server, target):
    assert server.raw(request(target)).status == 400


def test_nul_in_the_query_is_the_applications_business(server):
    assert get(server, '/?a=%00')['QUERY_STRING'] == 'a=%00'


def test_asterisk(server):
    assert get(server, '*', method='OPTIONS')['PATH_INFO'] == '*'


def test_fields(server):
    environ = get(server, '/', *BROWSER[1:], 'Content-Type: text/x', 'Authorization: Basic x', 'X-Forwarded-For: 192.0.2.1')
    assert environ['HTTP_COOKIE'] == 'a=1; b=2; c=3'
    assert environ['HTTP_X_CUSTOM_THING'] == 'one,two'
    assert environ['HTTP_X_UMLAUT'] == 'gr\xfc\xdfe'
    assert environ['HTTP_X_EMPTY'] == ''
    assert environ['CONTENT_TYPE'] == 'text/x' and 'HTTP_CONTENT_TYPE' not in environ
    assert environ['HTTP_AUTHORIZATION'] == 'Basic x'
    assert environ['REMOTE_ADDR'] == '127.0.0.1'


def test_many_names_that_nobody_knows(server):
    names = [f'X-{c}{n}{"long" * (n % 20)}' for n in range(20) for c in 'abcd']
    for _ in range(2):
        environ = get(server, '/', *[f'{n}: {i}' for i, n in enumerate(names)])
        assert [environ['HTTP_' + n.upper().replace('-', '_')] for n in names] == [str(i) for i in range(len(names))]


def test_body_lengths(server):
    assert 'CONTENT_LENGTH' not in get(server)
    assert get(server, '/', method='POST', body=b'12345')['CONTENT_LENGTH'] == '5'
    assert get(server, '/', method='POST', body=b'')['CONTENT_LENGTH'] == '0'
    environ = environ_of(server.raw(request('/', 'Transfer-Encoding: chunked', 'Connection: close', method='POST') + b'3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n'))
    assert environ['CONTENT_LENGTH'] == '7'  # the body is whole when the application is called
    assert 'HTTP_TRANSFER_ENCODING' not in environ and 'HTTP_CONTENT_LENGTH' not in environ


def test_http_1_0_without_host(server):
    environ = environ_of(server.raw(request('/', version='1.0', host=None)))
    assert environ['SERVER_PROTOCOL'] == 'HTTP/1.0' and 'HTTP_HOST' not in environ


def test_the_same_request_again_and_again(server):
    """The engine knows a block of fields by its second or third time: the environ must not show it."""
    with server.connect() as c:
        answers = [environ_of(c.get('/x?y=1', *BROWSER)) for _ in range(6)]
    assert all(a == answers[0] for a in answers)
    slow = get(server, '/x?y=1', *BROWSER[1:])
    slow['HTTP_CONNECTION'] = 'keep-alive'
    slow['REMOTE_PORT'] = answers[0]['REMOTE_PORT']
    assert slow == answers[0]


def test_what_changes_around_a_known_block(server):
    paths = ['/', '/a', '/a?b', '/a', '/%41', '/A', '/' + 'l' * 600, '/a', '/a?b']
    seen = []
    for _ in range(3):
        with server.connect() as c:
            port = str(c.sock.getsockname()[1])
            for path in paths:
                environ = environ_of(c.get(path, *BROWSER))
                assert environ['RAW_URI'] == path and environ['REMOTE_PORT'] == port
                assert environ['PATH_INFO'] == path.split('?')[0].replace('%41', 'A')
                assert environ['QUERY_STRING'] == path.partition('?')[2]
                seen.append((environ.pop('REMOTE_PORT'), environ)[1])
            assert environ_of(c.get('/a', *BROWSER, method='DELETE'))['REQUEST_METHOD'] == 'DELETE'
    assert seen[:len(paths)] == seen[len(paths):2 * len(paths)] == seen[2 * len(paths):]


def test_an_environ_belongs_to_its_request(server):
    with server.connect() as c:
        before = environ_of(c.get('/same', *BROWSER))
        for path in ('/spoil', '/clear') * 4:
            assert environ_of(c.get(path, *BROWSER))['REQUEST_METHOD'] == 'GET'
            after = environ_of(c.get('/same', *BROWSER))
            assert after == before


@pytest.mark.parametrize('fields, scheme', [
    (('X-Forwarded-Proto: https',), 'https'),
    (('X-Forwarded-Proto: http',), 'http'),
    ((), 'http'),
])
def test_scheme_of_a_trusted_proxy(server, fields, scheme):
    with server.connect() as c:
        assert [environ_of(c.get('/', *fields))['wsgi.url_scheme'] for _ in range(5)] == [scheme] * 5


def test_script_name_of_a_trusted_proxy(server):
    with server.connect() as c:
        for _ in range(5):
            environ = environ_of(c.get('/app/x%20y', 'SCRIPT_NAME: /app'))
            assert (environ['SCRIPT_NAME'], environ['PATH_INFO']) == ('/app', '/x y')
            environ = environ_of(c.get('/app/x'))
            assert (environ['SCRIPT_NAME'], environ['PATH_INFO']) == ('', '/app/x')


def test_script_name_of_the_environment(cserve):
    server = cserve(app=APP, settings={'raw_env': 'SCRIPT_NAME=/mount'})
    for path, expected in (('/mount/a', ('/mount', '/a')), ('/mount', ('/mount', '')), ('/mountain', ('', '/mountain'))):
        environ = environ_of(server.get(path))
        assert (environ['SCRIPT_NAME'], environ['PATH_INFO']) == expected


@pytest.mark.parametrize('host, name, port', [('a.example', 'a.example', '80'), ('a.example:81', 'a.example', '81'), ('[::1]:9', '[::1]', '9'),
                                              ('[::1]', '[::1]', '80')])
def test_a_unix_socket_is_named_by_the_host(cserve, host, name, port):
    server = cserve(app=APP, bind='unix')
    with server.connect() as c:
        for _ in range(4):
            c.send(request('/', 'Connection: keep-alive', host=host))
            environ = environ_of(c.final())
            assert (environ['SERVER_NAME'], environ['SERVER_PORT'], environ['REMOTE_ADDR']) == (name, port, '')
            assert 'REMOTE_PORT' not in environ


def test_ipv6(cserve):
    server = cserve(app=APP, bind='tcp6')
    environ = environ_of(server.get())
    assert (environ['SERVER_NAME'], environ['REMOTE_ADDR']) == ('::1', '::1')


def test_variables_in_the_access_log(cserve):
    server = cserve(app=APP, settings={'accesslog': '-', 'access_log_format': '%({wsgi.url_scheme}e)s %({HTTP_X_A}e)s %({nosuch}e)s %({wsgi.version}e)s'})
    server.get('/', 'X-A: b')
    server.raw(b'broken\r\n\r\n')
    until(lambda: 'http b - (1, 0)\n' in server.stdout(), lambda: f'the line in {server.stdout()!r}')
