"""The test clients of Werkzeug and Django: what they see of an application in their own process they must see of it through the network as well.

The client's WSGI call becomes a request on a socket (through_network); everything around it, cookies, redirects, forms, is the client's own code."""
import subprocess
import sys

import pytest

THROUGH_NETWORK = r'''
import http.client
import sys
import urllib.parse

import app

HOP_BY_HOP = {'connection', 'keep-alive', 'transfer-encoding'}
OURS = {'date', 'server'}


def through_network(environ, start_response):
    """A WSGI application that passes its call on to the server."""
    target = urllib.parse.quote(environ['PATH_INFO'].encode('latin-1'), safe="/:@!$&'()*+,;=~")
    if environ.get('QUERY_STRING'):
        target += '?' + environ['QUERY_STRING']
    fields = {k[5:].replace('_', '-'): v for k, v in environ.items() if k.startswith('HTTP_')}
    fields.setdefault('HOST', environ['SERVER_NAME'])
    if environ.get('CONTENT_TYPE'):
        fields['Content-Type'] = environ['CONTENT_TYPE']
    length = int(environ.get('CONTENT_LENGTH') or 0)
    connection = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=30)
    connection.putrequest(environ['REQUEST_METHOD'], target, skip_host=True, skip_accept_encoding=True)
    for name, value in fields.items():
        connection.putheader(name, value)
    if length:
        connection.putheader('Content-Length', str(length))
    connection.endheaders(environ['wsgi.input'].read(length) if length else None)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    start_response(f'{answer.status} {answer.reason}', [(n, v) for n, v in answer.getheaders() if n.lower() not in HOP_BY_HOP | OURS])
    return [body]


def compare(what, inside, outside):
    assert inside == outside, f'{what}:\n  in the process      {inside}\n  through the network {outside}'
'''

FLASK = '''
import zlib

from flask import Flask, Response, jsonify, redirect, request, session

app = Flask(__name__)
app.secret_key = 'x'


@app.route('/')
def index():
    return 'hello'


@app.route('/seen/<path:rest>', methods=['GET', 'POST', 'PUT', 'DELETE', 'PATCH'])
def seen(rest):
    return jsonify(method=request.method, path=request.path, rest=rest, args=request.args.to_dict(flat=False), form=request.form.to_dict(flat=False),
                   files={k: [f.filename, f.mimetype, zlib.crc32(f.read())] for k, f in request.files.items()}, json=request.get_json(silent=True),
                   type=request.content_type and request.content_type.split(';')[0], length=None if request.files else request.content_length, host=request.host, cookies=request.cookies,
                   own=request.headers.get('X-Own'), data=zlib.crc32(request.get_data()))


@app.route('/count')
def count():
    session['n'] = session.get('n', 0) + 1
    return str(session['n'])


@app.route('/away')
def away():
    return redirect('/count')


@app.route('/stream')
def stream():
    return Response((f'{i}\\n' for i in range(5)), mimetype='text/plain')


@app.route('/nothing')
def nothing():
    return '', 204
'''

WERKZEUG_CLIENT = r'''
import io

from werkzeug.test import Client

inside, outside = Client(app.app.wsgi_app), Client(through_network)


def both(method, path, **options):
    answers = []
    for client in (inside, outside):
        made = {k: v() if callable(v) else v for k, v in options.items()}
        r = client.open(path, method=method, **made)
        # Flask lists the methods of a set, in an order that differs from process to process.
        fields = {(n, ', '.join(sorted(v.split(', ')))) for n, v in r.headers if n not in ('Content-Length', 'Set-Cookie')}
        answers.append((r.status, fields, r.get_data(), r.headers.get('Content-Length') if method == 'HEAD' else len(r.get_data()), len(r.history)))
    compare(f'{method} {path}', *answers)


both('GET', '/')
both('HEAD', '/')
both('OPTIONS', '/')
both('POST', '/')
both('GET', '/no/such/page')
both('GET', '/nothing')
both('GET', '/stream')
both('GET', '/seen/a%2Fb c/\xfc\u20ac', query_string={'q': ['1', '\xe4 &='], 'e': ''}, headers={'X-Own': 'caf\xe9', 'Cookie': 'a=b; c="d e"'})
both('POST', '/seen/form', data={'a': ['1', '2'], 'b': '\u20ac'})
both('POST', '/seen/files', data=lambda: {'f': (io.BytesIO(bytes(range(256)) * 300), 'n\xe4me.bin'), 'g': (io.BytesIO(b''), 'empty.txt'), 'x': 'y'})
both('PUT', '/seen/json', json={'a': [1, None, '\u20ac']})
both('PATCH', '/seen/raw', data=b'\0\xff\r\n' * 1000, content_type='application/octet-stream')
both('DELETE', '/seen/x')
for _ in range(3):
    both('GET', '/count')
both('GET', '/away')
both('GET', '/away', follow_redirects=True)
'''

DJANGO = '''
import zlib

import django
from django.conf import settings

settings.configure(DEBUG=False, SECRET_KEY='x' * 50, ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, SESSION_ENGINE='django.contrib.sessions.backends.signed_cookies',
                   MIDDLEWARE=['django.contrib.sessions.middleware.SessionMiddleware', 'django.middleware.common.CommonMiddleware'])
django.setup()

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path


def seen(r, rest):
    own = {k: r.META.get(k) for k in ('CONTENT_TYPE', 'CONTENT_LENGTH', 'HTTP_X_OWN', 'QUERY_STRING')}
    own['CONTENT_TYPE'] = (own['CONTENT_TYPE'] or '').split(';')[0]
    own['CONTENT_LENGTH'] = own['CONTENT_LENGTH'] or None
    is_form = own['CONTENT_TYPE'] == 'multipart/form-data'
    return JsonResponse({'method': r.method, 'path': r.path, 'rest': rest, 'get': dict(r.GET.lists()), 'post': dict(r.POST.lists()), 'cookies': r.COOKIES,
                         'files': {k: [f.name, f.content_type, zlib.crc32(f.read())] for k, f in r.FILES.items()},
                         'body': '' if is_form else r.body.decode('latin-1'), 'own': own})


def count(r):
    r.session['n'] = r.session.get('n', 0) + 1
    return HttpResponse(str(r.session['n']))


urlpatterns = [
    path('', lambda r: HttpResponse('hello')),
    re_path('^seen/(.*)$', seen),
    path('count', count),
    path('away', lambda r: HttpResponseRedirect('/count')),
    path('stream', lambda r: StreamingHttpResponse(f'{i}\\n' for i in range(5))),
]
application = get_wsgi_application()
'''

DJANGO_CLIENT = r'''
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test import Client


class NetworkHandler:
    """In place of the handler that calls the views."""

    def __call__(self, environ):
        given = {}

        def start_response(status, fields):
            given.update(status=int(status.split()[0]), fields=fields)
        body = b''.join(through_network(environ, start_response))
        response = HttpResponse(body, status=given['status'])
        del response['Content-Type']
        for name, value in given['fields']:
            if name == 'Set-Cookie':
                response.cookies.load(value)
            else:
                response[name] = value
        response.url = response.get('Location')
        response.wsgi_request = WSGIRequest(environ)
        return response


inside, outside = Client(), Client()
outside.handler = NetworkHandler()


def both(method, path, *arguments, **options):
    answers = []
    for client in (inside, outside):
        r = getattr(client, method)(path, *[a() if callable(a) else a for a in arguments], **options)
        body = b''.join(r.streaming_content) if r.streaming else r.content
        fields = {(n, v) for n, v in r.items() if n not in ('Content-Length', 'Set-Cookie')}
        answers.append((r.status_code, fields, body, sorted(r.cookies), len(getattr(r, 'redirect_chain', []))))
    compare(f'{method} {path}', *answers)


both('get', '/')
both('head', '/')
both('get', '/no/such/page')
both('get', '/stream')
both('get', '/seen/a%2Fb c/\xfc\u20ac', {'q': ['1', '\xe4 &='], 'e': ''}, HTTP_X_OWN='mine')
both('post', '/seen/form', lambda: {'a': ['1', '2'], 'b': '\u20ac', 'f': SimpleUploadedFile('n\xe4me.bin', bytes(range(256)) * 300), 'g': SimpleUploadedFile('e', b'')})
both('put', '/seen/json', {'a': [1, None, '\u20ac']}, content_type='application/json')
both('patch', '/seen/raw', b'\0\xff\r\n' * 1000)
both('delete', '/seen/x')
both('options', '/seen/x')
for _ in range(3):
    both('get', '/count')
both('get', '/away')
both('get', '/away', follow=True)
'''


@pytest.mark.parametrize('framework, app, wsgi_app, client', [('flask', FLASK, 'app:app', WERKZEUG_CLIENT), ('django', DJANGO, 'app:application', DJANGO_CLIENT)],
                         ids=['werkzeug', 'django'])
def test_a_frameworks_own_client_cannot_tell_the_difference(cserve, framework, app, wsgi_app, client):
    try:
        server = cserve(app=app, wsgi_app=wsgi_app)
    except AssertionError as e:
        if f"No module named '{framework}'" in str(e):
            pytest.skip(f'the python of the server has no {framework}')
        raise
    pytest.importorskip(framework)
    script = server.directory / 'client.py'
    script.write_text(THROUGH_NETWORK + client, encoding='utf-8')
    done = subprocess.run([sys.executable, '-B', str(script), str(server.port)], env={'PYTHONPATH': str(server.app_directory)}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
