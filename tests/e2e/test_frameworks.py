"""The Flask and Django examples, as users run them, under concurrent keep-alive clients."""
import hashlib
import os
import re
import signal
import subprocess
import threading

import pytest
import requests

from support.http import request
from support.server import ROOT
from support.wait import SLOW, until

EXAMPLES = ROOT / 'examples'
pytest.importorskip('flask')
pytest.importorskip('django')


def together(count, work):
    """Runs work(i) in so many threads; raises what they raise."""
    errors = []

    def run(i):
        try:
            work(i)
        except BaseException as e:
            errors.append(e)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120 * SLOW)
    if errors:
        raise errors[0]


def example(cserve, name, **options):
    """The example with its own ini file, on a port of ours."""
    conf = EXAMPLES / name / 'cserve.ini'
    server = cserve(start=False, wsgi_app='', **options)
    bind = server.settings['bind']
    server.ini_override = conf.read_text()
    server.cwd = str(EXAMPLES / name)
    server.args += ['--chdir', str(EXAMPLES / name), '--bind', bind]
    server.workers_wanted = 2
    server.start()
    return server


# ---- hello ----

def test_hello(cserve):
    server = example(cserve, 'hello')
    answer = server.request('GET')
    assert answer.status_code == 200 and 'REQUEST_METHOD' in answer.text


# ---- Flask ----

@pytest.fixture(scope='module')
def flask(module_cserve):
    return example(module_cserve, 'flask_app')


@pytest.mark.core
def test_flask_pages_under_concurrent_keep_alive_clients(flask):
    def client(i):
        with requests.Session() as s:
            for n in range(15):
                answer = s.get(flask.url, params={'name': f'<{i}-{n}>'}, timeout=30)
                assert answer.status_code == 200 and f'&lt;{i}-{n}&gt;' in answer.text
    together(8, client)


def test_flask_json_under_concurrent_keep_alive_clients(flask):
    def client(i):
        with requests.Session() as s:
            for n in range(15):
                data = {'client': i, 'n': n, 'text': 'ä' * n}
                assert s.post(flask.url + '/api/echo', json=data, timeout=30).json() == {'you_sent': data}
    together(8, client)


def test_flask_uploads_with_checksums(flask):
    def client(i):
        body = os.urandom(2_000_000 + i)
        wanted = {'bytes': len(body), 'sha256': hashlib.sha256(body).hexdigest()}
        assert requests.post(flask.url + '/upload', data=body, timeout=60).json() == wanted
        assert requests.post(flask.url + '/upload', files={'file': ('a', body)}, timeout=60).json() == wanted
        assert requests.post(flask.url + '/upload', data=iter([body[:70000], body[70000:]]), timeout=60).json() == wanted
    together(4, client)


def test_flask_streams_line_by_line(flask):
    import time
    with flask.connect() as c:
        times = []
        c.send(request('/stream?lines=4'))
        response = c.response(on_chunk=lambda data: times.append(time.monotonic()))
    assert response.body.count(b'\n') == 4
    assert len(times) >= 4 and times[-1] - times[0] > 0.4, 'the lines came all at once'


def test_flask_errors_are_flasks(flask):
    with requests.Session() as s:
        assert s.get(flask.url + '/nowhere', timeout=30).status_code == 404
        assert s.get(flask.url + '/api/echo', timeout=30).status_code == 405
        assert s.post(flask.url + '/api/echo', data='no json', headers={'Content-Type': 'application/json'}, timeout=30).status_code == 400
        assert s.head(flask.url + '/', timeout=30).text == ''
        assert 'GET' in s.options(flask.url + '/', timeout=30).headers['Allow']


def test_flask_logs_nothing_but_requests(flask):
    assert 'Traceback' not in flask.log()
    until(lambda: re.search(r'"GET /\?name=[^"]* HTTP/1\.1" 200 \d+ "-" "python-requests', flask.stdout()) or True, 'lines')


# ---- Django ----

@pytest.fixture(scope='module')
def django(module_cserve, tmp_path_factory):
    data = tmp_path_factory.mktemp('site')
    environment = {'SITE_DATA': str(data), 'SITE_DEBUG': '1'}
    manage = ['/usr/bin/python3', str(EXAMPLES / 'django_site' / 'manage.py')]
    everything = {**os.environ, **environment, 'PYTHONDONTWRITEBYTECODE': '1'}
    subprocess.run([*manage, 'migrate', '-v0'], check=True, env=everything)
    subprocess.run([*manage, 'createsuperuser', '--noinput', '--username', 'admin', '--email', 'a@example.org'], check=True,
                   env={**everything, 'DJANGO_SUPERUSER_PASSWORD': 'correct horse'}, stdout=subprocess.DEVNULL)
    return example(module_cserve, 'django_site', env=environment)


def form_token(text):
    return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text).group(1)


@pytest.mark.core
def test_django_pages_under_concurrent_keep_alive_clients(django):
    def client(i):
        with requests.Session() as s:
            for n in range(10):
                answer = s.get(django.url + '/', timeout=30)
                assert answer.status_code == 200 and 'document' in answer.text
    together(8, client)


def test_django_form_with_uploads(django):
    def client(i):
        body = os.urandom(1_000_000 + i)
        with requests.Session() as s:
            page = s.get(django.url + '/add', timeout=30)
            answer = s.post(django.url + '/add', data={'csrfmiddlewaretoken': form_token(page.text), 'title': f'file {i}'},
                            files={'file': (f'{i}.bin', body)}, timeout=60)
            assert answer.status_code == 200 and f'file {i}' in answer.text
            documents = {d['title']: d for d in s.get(django.url + '/documents.json', timeout=30).json()['documents']}
            assert documents[f'file {i}']['sha256'] == hashlib.sha256(body).hexdigest()
            down = s.get(django.url + f"/documents/{documents[f'file {i}']['id']}", timeout=60)
            assert down.content == body and 'attachment' in down.headers['Content-Disposition']
    together(4, client)


def test_django_refuses_a_form_without_its_token(django):
    assert requests.post(django.url + '/add', data={'title': 'x'}, timeout=30).status_code == 403


def test_django_admin(django):
    with requests.Session() as s:
        page = s.get(django.url + '/admin/', timeout=30)
        assert 'Log in' in page.text
        answer = s.post(page.url, data={'csrfmiddlewaretoken': form_token(page.text), 'username': 'admin', 'password': 'correct horse',
                                        'next': '/admin/'}, timeout=30)
        assert answer.status_code == 200 and 'Site administration' in answer.text and 'Documents' in answer.text


def test_django_static_files(django):
    answer = requests.get(django.url + '/static/library/site.css', timeout=30)
    assert answer.status_code == 200 and answer.headers['Content-Type'].startswith('text/css') and len(answer.content) > 20


def test_django_is_imported_once(django):
    assert django.template(), 'preload_app is set in the example'


def test_django_reloads_under_load(django):
    """Last in this file: it changes the workers."""
    stop, failures, count = threading.Event(), [], [0]

    def client():
        with requests.Session() as s:
            while not stop.is_set():
                try:
                    if s.get(django.url + '/', timeout=30).status_code != 200:
                        failures.append('status')
                    count[0] += 1
                except requests.RequestException as e:
                    failures.append(repr(e))
    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            mark = django.log_mark()
            django.signal(signal.SIGHUP)
            django.wait_for_log('reloaded', since=mark, deadline=30 * SLOW)
    finally:
        stop.set()
        for t in threads:
            t.join(30 * SLOW)
    assert not failures, f'{len(failures)} of {count[0]}: {failures[:3]}'


# ---- wsgiref.validate ----

VALIDATED = '''
from wsgiref.validate import validator
import standard
application = validator(standard.application)
'''


def test_wsgiref_validate_around_the_standard_application(cserve):
    server = cserve(app=VALIDATED, settings={'pythonpath': str(ROOT / 'tests' / 'e2e' / 'apps')})
    for path, method, body in (('/', 'GET', None), ('/environ', 'GET', None), ('/stream?n=3', 'GET', None), ('/', 'HEAD', None),
                               ('/echo', 'POST', b'')):
        if path == '/echo':
            continue  # reads without a size, which the validator forbids
        assert server.get(path, method=method, body=body).status == 200, server.output()
    assert server.get('/digest', method='POST', body=b'x' * 200000).status == 200
    with server.connect() as c:
        c.send(request('/digest', 'Transfer-Encoding: chunked', method='POST') + b'3\r\nabc\r\n0\r\n\r\n')
        assert c.response().text.startswith('3 ')
    assert server.get('/status?code=204').status == 204
    assert 'AssertionError' not in server.log() and 'Traceback' not in server.log()


@pytest.mark.parametrize('name, module', [('flask_app', 'app:app'), ('django_site', 'website.wsgi:application')])
def test_wsgiref_validate_around_the_examples(cserve, name, module, tmp_path):
    package, attribute = module.split(':')
    server = cserve(app=f'''
from wsgiref.validate import validator
from {package} import {attribute} as inner
application = validator(inner)
''', wsgi_app='validated:application', env={'SITE_DATA': str(tmp_path), 'SITE_DEBUG': '1', 'SITE_HOSTS': '*', 'DJANGO_SETTINGS_MODULE': 'website.settings'},
                    start=False)
    (server.app_directory / 'app.py').rename(server.app_directory / 'validated.py')
    server.settings['pythonpath'] = str(EXAMPLES / name)
    server.start()
    paths = ['/', '/stream?lines=1', '/nowhere'] if name == 'flask_app' else ['/add', '/static/library/site.css', '/nowhere', '/admin/login/']
    for path in paths:
        assert server.get(path).status in (200, 404), server.output()
    assert 'AssertionError' not in server.log(), server.output()
