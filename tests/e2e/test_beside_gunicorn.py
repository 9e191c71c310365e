"""What environ says of a target, beside what Gunicorn's says: docs/wsgi.md names the differences, and there are no others."""
import json
import os
import shutil

import pytest

from support.http import Connection, request
from support.neighbour import Neighbour
from support.server import APPS

KEYS = ('REQUEST_METHOD', 'RAW_URI', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'SERVER_NAME', 'SERVER_PROTOCOL', 'HTTP_HOST', 'wsgi.url_scheme')

SAME = ['/', '/a/b', '/a?b=c&d=e', '/a?', '/?', '/a??b?c', '/a?/b/../c', '/a%20b', '/a%2Fb', '/a%2fb%2F', '/a%3Fb?x%3Fy', '/%2541', '/a%23b', '/%C3%A9',
        '/%ff%FE', '/a%0D%0Ab', '/a;b=c,d', '/a;p?q;r', "/~!$&'()*+,;=:@-._", '//', '///a', '//host/x', '/a//b', '/a/../b/./c', '/../../etc', '/%2e%2e/x',
        '/http://b/', '/a:80/b', '/?%20%zz+c%00', '/"a"', '/?{a}', '/a\\b', '/a|b', '/a^b`', '/[a]?b[]=1', 'http://a/', 'http://a/x?y', 'http://a//b',
        'https://a/x', 'HTTP://A/X']
BELOW = ['/app', '/app/', '/app/x', '/app?x', '/app//x', '/app/%2Fx', '/app/app/x', '/app/x?/app', 'http://a/app/x']


class Gunicorn(Neighbour):
    """With the application that cserve serves beside it."""

    def __init__(self, directory, **environment):
        super().__init__(directory / 'gunicorn.log')
        with self.log.open('wb') as log:
            self.start([shutil.which('gunicorn'), '-w1', '-b', f'127.0.0.1:{self.port}', '--chdir', str(APPS), 'witness:application'],
                       stdout=log, stderr=log, env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1', **environment})


@pytest.mark.parametrize('targets, environment', [(SAME, {}), (BELOW, {'SCRIPT_NAME': '/app'})], ids=['at the root', 'below SCRIPT_NAME'])
def test_environ_is_the_same(cserve, need, tmp_path, targets, environment):
    need('gunicorn')
    server = cserve(wsgi_app='witness:application', env=environment)
    gunicorn = Gunicorn(tmp_path, **environment)

    def seen(address, target):
        with Connection(address) as c:
            c.send(request(target, 'Connection: close', host='a'))
            response = c.response()
            assert response.status == 200, f'{response} for {target}\n{gunicorn.log.read_text()}'
            environ = json.loads(response.body)
            return {key: environ.get(key) for key in KEYS}

    try:
        for target in targets:
            assert seen(server.address, target) == seen(gunicorn.address, target), target
    finally:
        gunicorn.stop()
