"""nginx's real package in front: what it makes of ambiguous requests, and what a browser makes of the two."""
import json
import re
import shutil
import subprocess

import pytest

from support import nginx as front, table
from support.http import Connection
from support.wait import SLOW


@pytest.fixture(scope='module')
def fronted(module_cserve):
    if not front.find():
        pytest.skip('nginx is not installed')
    server = module_cserve(bind='unix', wsgi_app='witness:application')
    nginx = front.Nginx(server)
    yield server, nginx
    nginx.stop()


def test_through_nginx(fronted):
    _, nginx = fronted
    with Connection(nginx.address) as c:
        for i in range(5):
            response = c.get(f'/p{i}?q', method='POST', body=b'abc')
            seen = json.loads(response.body)
            assert seen['path'] == f'/p{i}' and seen['body'] == 'abc' and seen['scheme'] == 'https'
            assert seen['HTTP_X_FORWARDED_FOR'] == '127.0.0.1'


AMBIGUOUS = [r for r in table.rows() if not r.is_cut and len(r.data) < 4000]


def test_never_two_requests_where_nginx_saw_one(fronted):
    """The same bytes through nginx: the application must not see more requests than nginx passed on, whatever nginx made of them."""
    server, nginx = fronted
    for row in AMBIGUOUS:
        with Connection(nginx.address, timeout=3 * SLOW) as c:
            c.send(row.data)
            c.half_close()
            try:
                c.rest()
            except (TimeoutError, ConnectionResetError):
                pass
    with server.connect() as c:
        calls = json.loads(c.get('/calls-of?').body)
    passed = [line for line in (nginx.directory / 'access.log').read_text().splitlines() if line.startswith('127')]
    assert len(calls) > 20, 'too few came through to say anything'
    assert not [path for path in calls if 'evil' in path and not re.search(r'GET /evil', '\n'.join(passed))]
    assert len(calls) <= len(passed), f'{len(calls)} calls, {len(passed)} requests that nginx saw'


# ---- a browser ----

BROWSER_APP = r'''
import json

PAGE = b"""<!doctype html><title>page</title><link rel=stylesheet href=/style.css><p id=out>waiting</p>
<form id=form><input name=word value="gr\xc3\xbc\xc3\x9fe"></form>%s<script src=/script.js></script>"""
IMAGE = b'<svg xmlns="http://www.w3.org/2000/svg" width="7" height="5"></svg>'
SCRIPT = b"""
addEventListener('load', async () => {
    const form = new FormData(document.getElementById('form'));
    form.append('file', new Blob(['x'.repeat(300000)]), 'file.txt');
    const out = {
        images: [...document.images].filter(i => i.naturalWidth == 7).length,
        style: getComputedStyle(document.getElementById('out')).paddingLeft,
        json: await (await fetch('/echo', {method: 'POST', body: JSON.stringify({a: 1}), headers: {'Content-Type': 'application/json'}})).json(),
        form: await (await fetch('/length', {method: 'POST', body: form})).text(),
        stream: (await (await fetch('/stream')).text()).length,
        gone: (await fetch('/nowhere')).status,
        moved: (await fetch('/moved')).url.replace(/.*[/]/, ''),
        cookie: await (await fetch('/cookie')).text(),
        head: (await fetch('/stream', {method: 'HEAD'})).status,
    };
    document.getElementById('out').textContent = JSON.stringify(out);
});
"""
FIXED = {'/': ('text/html; charset=utf-8', PAGE % b''.join(b'<img src=/image%d.svg>' % i for i in range(12))),
         '/style.css': ('text/css', b'#out { padding-left: 31px }'), '/script.js': ('text/javascript', SCRIPT)}


def application(environ, start_response):
    path, body = environ['PATH_INFO'], environ['wsgi.input'].read()
    status, headers, pieces = '200 OK', [('Content-Type', 'text/plain')], [b'']
    if path in FIXED:
        headers, pieces = [('Content-Type', FIXED[path][0]), ('Set-Cookie', 'taste=good; Path=/')], [FIXED[path][1]]
    elif path.startswith('/image'):
        headers, pieces = [('Content-Type', 'image/svg+xml')], [IMAGE]
    elif path == '/echo':
        pieces = [body]
    elif path == '/length':
        pieces = [b'whole' if body.count(b'x' * 300000) == 1 and 'gr\u00fc\u00dfe'.encode() in body else b'broken']
    elif path == '/stream':
        pieces = (b'%09d\n' % i for i in range(1000))
    elif path == '/moved':
        status, headers = '302 Found', [('Location', '/cookie')]
    elif path == '/cookie':
        pieces = [environ.get('HTTP_COOKIE', '').encode()]
    else:
        status = '404 Not Found'
    start_response(status, headers)
    return pieces
'''


def test_a_browser_through_nginx_gets_a_whole_page(cserve, tmp_path):
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    if not browser or not front.find():
        pytest.skip('no chromium, or no nginx, is installed')
    server = cserve(app=BROWSER_APP, bind='unix', workers=2)
    nginx = front.Nginx(server)
    try:
        page = subprocess.run(
            [browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', f'--user-data-dir={tmp_path}', '--virtual-time-budget=20000',
             '--dump-dom', f'http://127.0.0.1:{nginx.port}/'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60 * SLOW, check=True).stdout.decode()
    finally:
        nginx.stop()
    seen = json.loads(re.search(r'<p id="out">(.*?)</p>', page).group(1))
    assert seen == {'images': 12, 'style': '31px', 'json': {'a': 1}, 'form': 'whole', 'stream': 10000, 'gone': 404, 'moved': 'cookie', 'cookie': 'taste=good', 'head': 200}
    assert 'error' not in server.log()
