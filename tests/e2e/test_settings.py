"""The command without a server: help, versions, the settings and every mistake in them, exit codes, generated files."""
import os
import re
import subprocess

import pytest

from support.server import BINARY, ROOT, sanitizer_environment
from support.wait import SLOW

pytestmark = pytest.mark.core

APPLICATION = 'def app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"hello"]\n'


class Command:
    """Runs cserve in a directory of its own and an environment without any setting."""

    def __init__(self, directory):
        self.directory = directory
        directory.chmod(0o755)
        self.environment = {'PATH': os.environ['PATH'], 'PYTHONDONTWRITEBYTECODE': '1', **sanitizer_environment(directory)}

    def write(self, name, text):
        path = self.directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def __call__(self, *args, status=0, env=None):
        done = subprocess.run([BINARY, *args], cwd=self.directory, env={**self.environment, **(env or {})}, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=60 * SLOW)
        assert done.returncode == status, f'exit status {done.returncode}\n{done.stdout}\n{done.stderr}'
        return done

    def errors(self, *args, status=1, env=None):
        return self(*args, status=status, env=env).stderr.splitlines()

    def printed(self, *args, env=None):
        """--print-config as {key: (value, origin)}."""
        found = {}
        for line in self('--print-config', *args, env=env).stdout.splitlines():
            match = re.fullmatch(r'(\w+) = ?(.*)  ; (.*)', line)
            if match:
                found[match[1]] = match[2], match[3]
        return found


@pytest.fixture
def command(tmp_path):
    return Command(tmp_path)


# ---- what is told ----

@pytest.mark.parametrize('what, path', [('ini', 'conf/cserve.ini'), ('markdown', 'docs/settings.md'), ('man', 'docs/cserve.8')])
def test_generated_files_have_not_drifted(command, what, path):
    assert command(f'--generate={what}').stdout == (ROOT / path).read_text(), f'{path} differs from the options table: make docs'


def test_generate_refuses_other_forms(command):
    assert command.errors('--generate=html') == ["cserve: --generate: 'html' is none of 'ini', 'markdown', 'man'"]


@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_names_every_setting(command, flag):
    text = command(flag).stdout
    for key in re.findall(r'^\| `(\w+)`', (ROOT / 'docs/settings.md').read_text(), re.M):
        assert '--' + key.replace('_', '-') in text
    assert max(map(len, text.splitlines())) <= 100
    positions = [text.index(f'\n{group}:\n') for group in re.findall(r'^## (.*)$', (ROOT / 'docs/settings.md').read_text(), re.M)]
    assert positions == sorted(positions)


@pytest.mark.parametrize('flag', ['--version', '-v'])
def test_version(command, flag):
    text = command(flag).stdout
    assert re.match(r'cserve \d+\.\d+\.\d+', text)
    assert 'Python 3.' in text and 'llhttp 9.' in text and re.search(r'inih \d', text)


def test_help_needs_no_sound_settings(command):
    command.write('cserve.ini', 'nonsense\n')
    assert command('--bogus', '--help').stdout.startswith('usage: cserve')


# ---- where values come from ----

def test_origins(command):
    command.write('conf.ini', 'workers = 2\n[cserve]\ntimeout = 2\nkeepalive = 2\nthreads = 2\n[env]\nA = 1\n')
    found = command.printed('-c', 'conf.ini', '--threads', '5',
                            env={'CSERVE_TIMEOUT': '3', 'CSERVE_CMD_ARGS': '--keep-alive 4', 'FORWARDED_ALLOW_IPS': '*'})
    assert found['workers'] == ('2', 'conf.ini:1')
    assert found['timeout'] == ('3s', 'variable CSERVE_TIMEOUT')
    assert found['keepalive'] == ('4s', '--keep-alive in CSERVE_CMD_ARGS')
    assert found['threads'] == ('5', 'command line --threads')
    assert found['raw_env'] == ('A=1', 'conf.ini:7')
    assert found['forwarded_allow_ips'] == ('*', 'variable FORWARDED_ALLOW_IPS')
    assert found['graceful_timeout'] == ('30s', 'default')


def test_printed_settings_can_be_read_again(command):
    args = ['-b', 'unix:/tmp/a.sock', '-b', '[::1]:1', '-e', 'A=x = y', '--limit-request-body', '10m', '-t', '1500ms', 'wsgi:app',
            '--umask', '77', '--forwarded-allow-ips', '10.0.0.0/8, ::1', '--log-level', 'debug']
    command.write('again.ini', command('--print-config', *args).stdout)
    assert {k: v for k, (v, _) in command.printed('-c', 'again.ini').items()} == {k: v for k, (v, _) in command.printed(*args).items()}


def test_usual_file(command):
    command.write('cserve.ini', 'workers = 7\n')
    assert command.printed()['workers'] == ('7', './cserve.ini:1')
    command.write('other.ini', 'threads = 7\n')
    assert command.printed('-c', 'other.ini')['workers'][1] == 'default'


def test_a_gunicorn_command_line(command):
    done = command('--print-config', '--worker-class', 'gthread', '--worker-tmp-dir', '/dev/shm', '--preload', '--pid', '/tmp/p',
                   '--name', 'n', '--no-sendfile', '--log-level', 'debug', '--access-logfile', '-', '--error-logfile', '-',
                   '--keep-alive', '5', '--env', 'A=1', '--limit-request-field_size', '4096', '-w', '3', '--chdir', '.', 'a:b')
    for line in ('preload_app = true', 'pidfile = /tmp/p', 'sendfile = false', 'keepalive = 5s', 'limit_request_field_size = 4k'):
        assert f'\n{line}  ; command line' in done.stdout
    assert 'worker_class is accepted' in done.stderr


# ---- mistakes ----

@pytest.mark.parametrize('text, expected', [
    ('wrokers = 2\n', "conf.ini:1: unknown setting 'wrokers'; did you mean 'workers'?"),
    ('\n[cserver]\n', "conf.ini:2: unknown section '[cserver]'; did you mean '[cserve]'? There are [cserve] and [env]"),
    ('# x\ntimeout = soon\n', "conf.ini:2: timeout: 'soon' is not a time (as 30, 500ms, 5m, 1h) from 0 to 86400s"),
    ('workers = 0\n', "conf.ini:1: workers: '0' is not 'auto' or a number from 1 to 1024"),
    ('workers\n', "conf.ini:1: 'workers' is neither 'key = value' nor '[section]'"),
    ('bind = a:1,\n  b:2\nworkers = 1\nworkers = 2\n', "conf.ini:4: 'workers' is set again; it was set in line 3"),
    ('proc_name = ' + 'x' * 190 + '\n',
     "conf.ini:1: the line has 202 bytes, and 198 can be read; break it with '\\' and go on in the next line"),
    ('chdir = /\n  workers = 2\n',
     'conf.ini:2: the line is indented, so it would continue the value above; remove the spaces in front of it'),
    (b'\xef\xbb\xbfthreads = x\0\n', 'conf.ini:1: byte 12 of the line is the control byte 0x00'),
    ('config = x\n', "conf.ini:1: 'config' is for the command line, not for a file"),
])
def test_mistakes_in_the_file(command, text, expected):
    command.write('conf.ini', text)
    assert command.errors('-c', 'conf.ini', 'wsgi:app') == [f'cserve: {expected}']


@pytest.mark.parametrize('args, expected', [
    (['--wrokers', '2'], "--wrokers: no such option; did you mean '--workers'?"),
    (['--work=2'], "--work: no such option; did you mean '--workers'?"),
    (['-z'], "-z: no such option; 'cserve --help' lists all"),
    (['--workers'], '--workers: a value is missing'),
    (['--certfile', 'x'], '--certfile: not offered: TLS ends at the proxy in front; see conf/nginx.conf'),
    (['-w', 'x'], "-w: workers: 'x' is not 'auto' or a number from 1 to 1024"),
    (['-u', 'nobody-of-this-name'], "-u: user: there is no user 'nobody-of-this-name'"),
    (['-k', 'gevent'],
     "-k: worker_class: 'gevent' is not offered: one kind of worker does what 'sync' and 'gthread' do; leave it out"),
    (['--chdir', '/nonexistent'], "command line --chdir: chdir '/nonexistent': No such file or directory"),
    (['-p', '/nonexistent/pid'], "command line -p: the directory of pidfile '/nonexistent/pid': No such file or directory"),
    (['-c', 'missing.ini'], "cannot read the settings in 'missing.ini': No such file or directory"),
    (['-c', 'gunicorn.conf.py'], "'gunicorn.conf.py' is Python; settings are read from ini files"),
    (['-D', '--reload', '--errorlog', 'error.log'],
     'command line --reload: reload is for development and does not go together with daemon (command line -D)'),
])
def test_mistakes_on_the_command_line(command, args, expected):
    assert command.errors('wsgi:app', *args) == [f'cserve: {expected}']


@pytest.mark.parametrize('given, expected', [
    ('wsgi.py', "'wsgi.py' is a path, not a module; write 'wsgi' or 'wsgi:application'"),
    ('wsgi.py:app', "'wsgi.py:app' is a path, not a module; write 'wsgi:app'"),
    ('site/wsgi.py', "'site/wsgi.py' is a path, not a module; write '--chdir site wsgi'"),
])
def test_a_path_is_no_application(command, given, expected):
    assert command.errors(given) == [f'cserve: application: wsgi_app: {expected}']


def test_no_application(command):
    assert command.errors() == [
        "cserve: no application is given; name it behind the options, as in 'cserve wsgi:app', or set wsgi_app"]


def test_variables(command):
    assert command.errors('wsgi:app', env={'CSERVE_WORKRES': '2'}) == [
        "cserve: CSERVE_WORKRES: no setting has this name; did you mean 'CSERVE_WORKERS'?"]
    assert command.errors('wsgi:app', env={'CSERVE_DAEMON': 'perhaps'}) == [
        "cserve: CSERVE_DAEMON: daemon: 'perhaps' is neither 'true' nor 'false'"]
    assert command.errors('wsgi:app', env={'CSERVE_CMD_ARGS': "-w '2"}) == [
        "cserve: CSERVE_CMD_ARGS: '-w '2' has a quote that is not closed"]
    assert command.errors('wsgi:app', env={'WEB_CONCURRENCY': 'all'}) == [
        "cserve: WEB_CONCURRENCY: workers: 'all' is not 'auto' or a number from 1 to 1024"]


def test_an_unreadable_file(command):
    path = command.write('conf.ini', 'workers = 1\n')
    if os.geteuid() == 0:
        path.unlink()
        path.mkdir()
        assert command.errors('-c', 'conf.ini', 'wsgi:app') == ["cserve: cannot read the settings in 'conf.ini': Is a directory"]
    else:
        path.chmod(0)
        assert command.errors('-c', 'conf.ini', 'wsgi:app') == ["cserve: cannot read the settings in 'conf.ini': Permission denied"]


def test_all_mistakes_are_told_at_once(command):
    command.write('conf.ini', 'wrokers = 2\nthreads = x\n')
    errors = command.errors('-c', 'conf.ini', '--bogus-flag', 'wsgi.py')
    assert len(errors) == 4


# ---- --check-config ----

def test_check_config(command):
    command.write('wsgi.py', APPLICATION)
    done = command('--check-config', 'wsgi:app')
    assert "'wsgi:app' can be loaded" in done.stdout


@pytest.mark.parametrize('app, text, cause', [
    ('nonesuch:app', APPLICATION, 'nonesuch'),
    ('wsgi:nonesuch', APPLICATION, 'nonesuch'),
    ('wsgi:value', 'value = 5\n', 'value'),
    ('wsgi:app', 'raise RuntimeError("the sky has fallen")\n', 'the sky has fallen'),
    ('wsgi:app', 'def app(:\n', 'SyntaxError'),
])
def test_check_config_finds_a_broken_application(command, app, text, cause):
    command.write('wsgi.py', text)
    assert cause in '\n'.join(command.errors('--check-config', app, status=4))


def test_check_config_finds_broken_settings(command):
    command.errors('--check-config', '--threads', 'x', 'wsgi:app', status=1)


def test_section_env_reaches_the_application(command):
    command.write('wsgi.py', 'import os\nassert os.environ["COLOUR"] == "blue, or so", os.environ["COLOUR"]\n' + APPLICATION)
    command.write('conf.ini', '[cserve]\nwsgi_app = wsgi:app\n[env]\nCOLOUR = blue, or so\n')
    command('-c', 'conf.ini', '--check-config')
