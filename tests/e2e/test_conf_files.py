"""The files of conf/ and examples/ as a user copies them: checked by the programs that read them, and used."""
import os
import re
import subprocess

import pytest

from support import ports, wait
from support.server import BINARY, ROOT

CONF = ROOT / 'conf'
EXAMPLES = sorted(p.parent.name for p in (ROOT / 'examples').glob('*/cserve.ini'))


def copy(name, directory, *changes):
    """A conf file, adapted as its comments ask for."""
    text = (CONF / name).read_text()
    for old, new in changes:
        assert old in text, f'{name} does not mention {old}'
        text = text.replace(old, new)
    path = directory / name
    path.write_text(text)
    return path


def test_units_are_valid(need, tmp_path):
    need('systemd-analyze')
    service = copy('cserve.service', tmp_path, ('/usr/local/bin/cserve', str(BINARY)), ('man:cserve(8)', f'file://{ROOT}/docs/cserve.8'))
    units = [service, copy('cserve.socket', tmp_path)]
    command = ['systemd-analyze', 'verify', '--man=no', *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'SYSTEMD_UNIT_PATH': f'{tmp_path}:'}, timeout=60)
    # Units of the machine that these refer to may have faults of their own.
    ours = [line for line in done.stderr.splitlines() if 'cserve' in line]
    assert not ours
    assert 'Failed to' not in done.stderr, done.stderr


def test_units_agree_with_the_settings(need):
    service = (CONF / 'cserve.service').read_text()
    defaults = subprocess.check_output([BINARY, '--print-config', '--config', '/dev/null', 'app'], text=True)

    def seconds(key):
        return int(re.search(rf'^{key}\s*=\s*(\d+)', defaults, re.M).group(1))

    def unit(key):
        return int(re.search(rf'^{key}=(\d+)$', service, re.M).group(1))

    assert unit('TimeoutStopSec') > seconds('graceful_timeout')
    assert unit('TimeoutStartSec') > seconds('boot_timeout')
    nginx = (CONF / 'nginx.conf').read_text()
    assert int(re.search(r'proxy_read_timeout (\d+)s', nginx).group(1)) > seconds('timeout')
    assert int(re.search(r'keepalive_timeout (\d+)s', nginx).group(1)) < seconds('keepalive')


@pytest.fixture
def nginx(need, tmp_path):
    """conf/nginx.conf in front of the socket of a server: a function that checks it, runs it and gives its port."""
    program = need('nginx')
    port = ports.reserve()
    started = []

    def start(socket):
        static = tmp_path / 'static'
        static.mkdir()
        (static / 'site.css').write_text('body {}\n')
        # nginx started by root lets its workers be nobody; these have to read what pytest keeps to root.
        user = 'user root;\n' if os.geteuid() == 0 else ''
        site = copy('nginx.conf', tmp_path, ('unix:/run/cserve.sock', f'unix:{socket}'), ('listen 80', f'listen 127.0.0.1:{port}'),
                    ('/srv/app/static/', f'{static}/'))
        temporary = ''.join(f'{kind}_temp_path {tmp_path}/{kind};\n' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        whole = tmp_path / 'whole.conf'
        whole.write_text(f'{user}worker_processes 1;\ndaemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/nginx.log;\n'
                         f'events {{}}\nhttp {{\naccess_log off;\n{temporary}include {site};\n}}\n')
        command = [program, '-p', str(tmp_path), '-c', str(whole), '-e', f'{tmp_path}/nginx.log']
        check = subprocess.run([*command, '-t'], capture_output=True, text=True, timeout=60)
        assert check.returncode == 0, check.stderr
        assert '[warn]' not in check.stderr, check.stderr
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(30)
    ports.release(port)


def test_nginx_in_front(cserve, nginx):
    import requests
    server = cserve(app='def application(environ, start_response):\n'
                        '    start_response("200 OK", [("Content-Type", "text/plain")])\n'
                        '    names = "HTTP_HOST", "HTTP_X_FORWARDED_FOR", "wsgi.url_scheme", "SERVER_PROTOCOL"\n'
                        '    return ["|".join(str(environ.get(n)) for n in names).encode()]\n', bind='unix')
    url = f'http://127.0.0.1:{nginx(server.address)}'

    def answer():
        try:
            return requests.get(url + '/', headers={'Host': 'example.org'}, timeout=30)
        except requests.ConnectionError:
            return None

    response = wait.until(answer, 'nginx to answer')
    assert (response.status_code, response.text) == (200, 'example.org|127.0.0.1|http|HTTP/1.1')
    assert requests.get(url + '/static/site.css', headers={'Host': 'example.org'}, timeout=30).text == 'body {}\n'


def test_generated_ini_is_valid(tmp_path):
    done = subprocess.run([BINARY, '-c', str(CONF / 'cserve.ini'), '--print-config', 'app'], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name', EXAMPLES)
def test_example_can_be_loaded(name, tmp_path):
    if name != 'hello':
        pytest.importorskip(name.split('_')[0])
    done = subprocess.run([BINARY, '--check-config'], cwd=ROOT / 'examples' / name, capture_output=True, text=True, timeout=120,
                          env={**os.environ, 'SITE_DATA': str(tmp_path), 'PYTHONDONTWRITEBYTECODE': '1'})
    assert done.returncode == 0, done.stderr


def test_every_example_has_a_line_in_the_readme():
    readme = (ROOT / 'README.md').read_text()
    assert len(EXAMPLES) >= 3
    for name in EXAMPLES:
        assert f'examples/{name}' in readme
