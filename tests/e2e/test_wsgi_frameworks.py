"""wsgiref.validate around applications, Flask and Django without a line of theirs changed, application threads."""
import collections
import threading

import pytest

from support.http import request
from support.wait import until

pytestmark = pytest.mark.core

VALIDATED = '''
from wsgiref.validate import validator


def inner(environ, start_response):
    path = environ['PATH_INFO']
    stream = environ['wsgi.input']
    environ['wsgi.errors'].write('checked\\n')
    environ['wsgi.errors'].flush()
    if path == '/read':
        body = stream.read(3) + stream.readline() + b''.join(stream.readlines()) + stream.read(5)
    elif path == '/iterate':
        body = b''.join(stream)
    else:
        body = b'hello'
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    if path == '/write':
        write(b'written ')
    if path == '/generator':
        return (p for p in (b'a', b'b'))
    if path == '/error':
        import sys
        try:
            raise ValueError
        except ValueError:
            start_response('500 Oops', [('Content-Type', 'text/plain')], sys.exc_info())
    return [body]


application = validator(inner)
'''

FLASK = '''
from flask import Flask, Response, request, stream_with_context, send_file
import io

app = Flask(__name__)


@app.route('/')
def index():
    return 'hello'


@app.route('/form', methods=['POST'])
def form():
    f = request.files['f']
    return {'name': f.filename, 'size': len(f.read()), 'field': request.form['field'], 'args': request.args.to_dict(), 'root': request.url_root}


@app.route('/stream')
def stream():
    return Response(stream_with_context(f'{i}\\n' for i in range(5)), mimetype='text/plain')


@app.route('/file')
def file():
    return send_file(__file__, mimetype='text/plain')


@app.route('/memory')
def memory():
    return send_file(io.BytesIO(b'from memory'), mimetype='text/plain')


@app.route('/error')
def error():
    raise ValueError('in a view')


@app.route('/<path:rest>')
def rest(rest):
    return rest
'''

DJANGO = '''
import django
from django.conf import settings

settings.configure(DEBUG=False, SECRET_KEY='x', ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, MIDDLEWARE=[
    'django.middleware.security.SecurityMiddleware', 'django.middleware.common.CommonMiddleware', 'django.middleware.gzip.GZipMiddleware'])
django.setup()

from django.core.signals import request_finished
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

FINISHED = []
request_finished.connect(lambda **k: FINISHED.append(1), weak=False)


def finished(request):
    return HttpResponse(str(len(FINISHED)))


urlpatterns = [
    path('', lambda r: HttpResponse('hello')),
    path('post', lambda r: JsonResponse({'size': len(r.body), 'method': r.method, 'secure': r.is_secure(), 'uri': r.build_absolute_uri()})),
    path('stream', lambda r: StreamingHttpResponse(f'{i}\\n' for i in range(5))),
    path('file', lambda r: FileResponse(open(__file__, 'rb'))),
    path('finished', finished),
]
application = get_wsgi_application()
'''


@pytest.fixture(scope='module')
def validated(module_cserve):
    return module_cserve(app=VALIDATED)


@pytest.mark.parametrize('path, method, body, expected', [
    ('/', 'GET', None, b'hello'), ('/', 'HEAD', None, b''), ('/write', 'GET', None, b'written hello'), ('/generator', 'GET', None, b'ab'),
    ('/read', 'POST', b'one\ntwo\nthree\n', b'one\ntwo\nthree\n'), ('/iterate', 'PUT', b'x\ny', b'x\ny'), ('/read', 'GET', None, b''),
    ('/a%20b?c=d', 'DELETE', None, b'hello'),
])
def test_wsgiref_validates(validated, path, method, body, expected):
    for version in ('1.1', '1.0'):
        response = validated.raw(request(path, 'Content-Type: text/plain', 'Connection: close', method=method, body=body, version=version), method)
        assert (response.status, response.body) == (200, expected), validated.output()
    assert 'AssertionError' not in validated.log()


def test_wsgiref_validates_exc_info(validated):
    assert validated.get('/error').status == 500
    assert 'AssertionError' not in validated.log()


def start(cserve, framework, **options):
    """The binary's python may be another than the one that runs the tests, and lack the framework."""
    try:
        return cserve(**options)
    except AssertionError as e:
        if f"No module named '{framework}'" in str(e):
            pytest.skip(f'the python of the server has no {framework}')
        raise


def test_flask(cserve):
    server = start(cserve, 'flask', app=FLASK, wsgi_app='app:app')
    assert server.request('GET', '/').text == 'hello'
    answer = server.request('POST', '/form?a=b', files={'f': ('name.txt', b'x' * 200000)}, data={'field': 'gr\xfc\xdfe'}).json()
    assert answer == {'name': 'name.txt', 'size': 200000, 'field': 'gr\xfc\xdfe', 'args': {'a': 'b'}, 'root': server.url + '/'}
    assert server.request('GET', '/stream').text == '0\n1\n2\n3\n4\n'
    assert server.request('GET', '/file').text == FLASK
    assert server.request('GET', '/memory').text == 'from memory'
    assert server.request('GET', '/gr\xfc\xdfe/x%20y').text == 'gr\xfc\xdfe/x y'
    assert server.request('HEAD', '/').headers['Content-Length'] == '5'
    assert server.request('GET', '/error').status_code == 500
    assert 'ValueError: in a view' in server.log()


def test_django(cserve):
    server = start(cserve, 'django', app=DJANGO)
    assert server.request('GET', '/').text == 'hello'
    answer = server.request('POST', '/post?x', data=b'y' * 300000, headers={'X-Forwarded-Proto': 'https'}).json()
    assert answer == {'size': 300000, 'method': 'POST', 'secure': True, 'uri': server.url.replace('http', 'https') + '/post?x'}
    assert server.request('GET', '/stream').text == '0\n1\n2\n3\n4\n'
    assert server.request('GET', '/file').text == DJANGO
    assert server.request('GET', '/finished').text == '4'  # close() of each response before it


THREADS = '''
import threading

LOCAL = threading.local()
BARRIER = threading.Barrier(4)


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/barrier':
        BARRIER.wait(20)  # passes only if four requests are in the application at once
    LOCAL.count = getattr(LOCAL, 'count', 0) + 1
    start_response('200 OK', [('X-Thread', str(threading.get_ident())), ('X-Multithread', str(environ['wsgi.multithread']))])
    if path == '/stream':
        return (bytes([65 + i % 26]) * 100 for i in range(50))
    if path == '/big':
        return [b'z' * 3000000]
    return [environ['QUERY_STRING'].encode()]
'''


def test_application_threads(cserve):
    server = cserve(app=THREADS, settings={'threads': '4'})
    seen, problems = collections.Counter(), []

    def client(number):
        try:
            with server.connect(timeout=30) as c:
                seen[c.get('/barrier')['X-Thread']] += 1
                for i in range(100):
                    response = c.get(f'/?{number}-{i}')
                    assert response.text == f'{number}-{i}' and response['X-Multithread'] == 'True'
                assert c.get('/stream').body == b''.join(bytes([65 + i % 26]) * 100 for i in range(50))
                assert c.get('/big').body == b'z' * 3000000
        except BaseException as e:
            problems.append(e)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems
    assert len(seen) == 4
    server.stop()


def test_bodies_that_the_engine_keeps_are_let_go(cserve):
    server = cserve(app='''
import sys
DATA = b'k' * 5000000
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/references':
        return [str(sys.getrefcount(DATA)).encode()]
    return [DATA]
''')
    before = int(server.get('/references').text)
    with server.connect(receive_buffer=4096) as slow, server.connect(receive_buffer=4096) as gone:
        slow.send(request('/'))
        gone.send(request('/'))
        until(lambda: int(server.get('/references').text) >= before + 1, 'a body that is kept')
        assert len(slow.response().body) == 5000000
        gone.reset()
    until(lambda: int(server.get('/references').text) == before, 'the end of all references')
