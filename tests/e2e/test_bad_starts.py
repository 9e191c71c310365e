"""Starts that cannot work: each ends within seconds with the right exit status and one error that names the cause, and leaves nothing."""
import os
import re
import signal
import socket
import stat
import time

import pytest

from support import procfs
from support.wait import SLOW, until

pytestmark = pytest.mark.core

GOOD = 'def application(environ, start_response):\n    start_response("200 OK", [])\n    return [b"ok"]\n'
SETTINGS, BOOT, APP = 1, 3, 4


def fails(server, status, *patterns, errors=None):
    """Starts it and checks how it fails; the log."""
    begin = time.monotonic()
    got = server.run_to_end(20 * SLOW)
    took = time.monotonic() - begin
    log = server.log() + server.stdout()
    assert got == status, f'exit status {got}, not {status}:\n{log}'
    assert took < 5 * SLOW, f'{took:.1f} s'
    for pattern in patterns:
        assert re.search(pattern, log), f'{pattern!r} is not in:\n{log}'
    server.assert_nothing_left()
    if errors is not None:
        lines = re.findall(r'^cserve: .*$', log, re.M) + [m for *_, lv, m in server.log_lines() if lv in ('error', 'critical')]
        assert len(lines) == errors, f'{len(lines)} errors, not {errors}:\n{log}'
    left = [p for p in server.directory.rglob('*') if stat.S_ISSOCK(p.lstat().st_mode) and p.name != 'foreign']
    assert not left, f'sockets left behind: {left}'
    return log


# ---- settings: exit status 1 ----

def test_unknown_setting_in_the_file(cserve):
    server = cserve(start=False, settings={'wokers': '3'})
    fails(server, SETTINGS, r'conf\.ini:\d+', 'wokers', "'?workers'?", errors=1)


def test_unknown_option(cserve):
    fails(cserve(start=False, args=['--wokers', '3']), SETTINGS, '--wokers', '--workers', errors=1)


def test_unknown_variable(cserve):
    fails(cserve(start=False, env={'CSERVE_WOKERS': '3'}), SETTINGS, 'CSERVE_WOKERS', 'CSERVE_WORKERS', errors=1)


@pytest.mark.parametrize('key, value', [('workers', 'many'), ('workers', '-1'), ('threads', '0'), ('timeout', 'soon'), ('bind', '127.0.0.1:http'),
                                        ('bind', '127.0.0.1:99999'), ('loglevel', 'chatty'), ('limit_request_line', '8190 bytes'),
                                        ('preload_app', 'perhaps'), ('umask', '999'), ('user', 'no_such_user_anywhere')])
def test_bad_value(cserve, key, value):
    server = cserve(start=False, settings={key: value})
    fails(server, SETTINGS, re.escape(value))


def test_missing_file(cserve):
    server = cserve(start=False)
    server.write_ini()
    server.args = ['-c', str(server.directory / 'nowhere.ini')]
    fails(server, SETTINGS, r'nowhere\.ini', 'No such file or directory', errors=1)


def test_unreadable_file(cserve):
    server = cserve(start=False)
    server.args = ['-c', str(server.directory)]
    fails(server, SETTINGS, re.escape(str(server.directory)), 'Is a directory|not a regular file', errors=1)


def test_no_application(cserve):
    fails(cserve(start=False, wsgi_app=''), SETTINGS, 'wsgi_app|application', errors=1)


def test_a_path_given_as_application(cserve):
    """The error tells the right spelling."""
    server = cserve(app=GOOD, start=False, wsgi_app='app.py')
    fails(server, SETTINGS, r"app\.py", r"'app(:application)?'", errors=1)


def test_a_path_with_directories_given_as_application(cserve):
    fails(cserve(app=GOOD, start=False, wsgi_app='site/app.py:application'), SETTINGS, r"'[^']*app:application'", errors=1)


def test_no_such_directory(cserve):
    fails(cserve(start=False, settings={'chdir': '/no/such/directory'}), SETTINGS, '/no/such/directory', errors=1)


# ---- sockets ----

def test_port_in_use(cserve):
    server = cserve(start=False)
    with socket.create_server(server.address):
        fails(server, SETTINGS, rf"cannot bind '127\.0\.0\.1:{server.port}'", 'in use', errors=1)


def test_an_address_that_is_not_ours(cserve):
    begin = time.monotonic()
    fails(cserve(start=False, settings={'bind': '192.0.2.1:8000'}), SETTINGS, r"192\.0\.2\.1:8000", errors=1)
    assert time.monotonic() - begin < 2 * SLOW, 'only an address in use is worth another try'


def test_a_socket_in_a_directory_that_is_not_there(cserve):
    server = cserve(start=False, settings={'bind': 'unix:/no/such/directory/s'})
    fails(server, SETTINGS, '/no/such/directory/s', errors=1)


def test_a_unix_socket_that_is_in_use_is_not_stolen(cserve):
    first = cserve(bind='unix')
    second = cserve(start=False, settings={'bind': first.settings['bind']})
    fails(second, SETTINGS, re.escape(first.address), 'in use', errors=1)
    assert first.get('/').status == 200


def test_a_file_that_is_no_socket_is_left_alone(cserve):
    server = cserve(start=False, bind='unix')
    with open(server.address, 'w', encoding='ascii') as f:
        f.write('precious')
    fails(server, SETTINGS, re.escape(server.address), errors=1)
    with open(server.address, encoding='ascii') as f:
        assert f.read() == 'precious'


def test_a_second_address_that_fails_leaves_no_socket_file_of_the_first(cserve):
    server = cserve(start=False)
    path = server.directory / 'first'
    server.settings['bind'] = [f'unix:{path}', '192.0.2.1:8000']
    fails(server, SETTINGS, r'192\.0\.2\.1:8000')
    assert not path.exists()


def test_a_descriptor_that_is_no_socket(cserve):
    with open('/dev/null', 'rb') as f:
        server = cserve(start=False, bind=f'fd://{f.fileno()}', pass_fds=[f.fileno()])
        fails(server, SETTINGS, 'fd://')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may bind every port')
def test_a_port_that_only_root_may_bind(cserve):
    fails(cserve(start=False, settings={'bind': '127.0.0.1:80'}), SETTINGS, '127.0.0.1:80', errors=1)


def test_a_live_pidfile(cserve):
    first = cserve(settings={'pidfile': 'cserve.pid'})
    path = first.directory / 'cserve.pid'
    second = cserve(start=False, settings={'pidfile': str(path)})
    fails(second, SETTINGS, str(first.pid), errors=1)
    assert path.read_text().strip() == str(first.pid)


def test_a_log_that_cannot_be_opened(cserve):
    fails(cserve(start=False, settings={'errorlog': '/no/such/directory/error.log'}), SETTINGS, '/no/such/directory/error.log')


def test_an_access_log_that_cannot_be_opened(cserve):
    fails(cserve(start=False, settings={'accesslog': '/no/such/directory/access.log'}), SETTINGS, '/no/such/directory/access.log')


# ---- the application: exit status 4 ----

BROKEN = {
    'no such module': (None, 'nowhere:application', ["ModuleNotFoundError|No module named 'nowhere'"]),
    'a module without the attribute': ('x = 1\n', 'app:application', ["'?application'?"]),
    'an attribute that is not callable': ('application = "text"\n', 'app:application', ['call', 'str']),
    'an exception at import': ('def f():\n    raise RuntimeError("not today")\nf()\n', 'app:application',
                               [r'Traceback', r'app\.py", line 2, in f', 'RuntimeError: not today']),
    'a syntax error': ('def application(:\n', 'app:application', ['SyntaxError', r'app\.py", line 1']),
    'an import error within': ('import no_such_module\n', 'app:application', ["No module named 'no_such_module'"]),
    'sys.exit at import': ('import sys\nsys.exit(7)\n', 'app:application', ['SystemExit']),
    'a factory that raises': ('def make():\n    raise ValueError("no")\n', 'app:make()', ['ValueError: no']),
    'a factory that returns nothing': ('def make():\n    pass\n', 'app:make()', ['call', 'NoneType']),
    'a dotted attribute that is not there': ('class a:\n    pass\n', 'app:a.b', ["'?b'?"]),
}


@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
@pytest.mark.parametrize('kind', BROKEN)
def test_broken_application(cserve, kind, preload):
    text, name, patterns = BROKEN[kind]
    server = cserve(app=text or GOOD, start=False, wsgi_app=name, workers=3, settings={'preload_app': preload})
    log = fails(server, APP, *patterns)
    tracebacks = log.count('Traceback (most recent call last)')
    assert tracebacks <= 2, f'{tracebacks} tracebacks for one cause (a chained one has two)'


@pytest.mark.parametrize('kind', ['no such module', 'a syntax error'])
def test_check_config_says_the_same(cserve, kind):
    text, name, patterns = BROKEN[kind]
    server = cserve(app=text or GOOD, start=False, wsgi_app=name, args=['--check-config'])
    fails(server, APP, *patterns)


def test_check_config_of_a_good_one(cserve):
    server = cserve(app=GOOD, start=False, args=['--check-config'])
    assert server.run_to_end() == 0, server.output()
    server.assert_nothing_left()


# ---- workers that cannot start: exit status 3 ----

@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_workers_that_die_at_boot(cserve, preload):
    server = cserve(app='import os\nos._exit(9)\n', start=False, workers=2, settings={'preload_app': preload})
    fails(server, BOOT, 'exited with status 9')


@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_workers_that_are_killed_at_boot(cserve, preload):
    server = cserve(app='import os\nos.kill(os.getpid(), 9)\n', start=False, settings={'preload_app': preload})
    fails(server, BOOT, 'SIGKILL')


@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_workers_that_hang_at_boot(cserve, preload):
    server = cserve(app='import time\ntime.sleep(60)\n', start=False, settings={'preload_app': preload, 'boot_timeout': '1'})
    fails(server, BOOT, 'boot_timeout')


# ---- interrupted starts ----

@pytest.mark.parametrize('name', ['TERM', 'INT', 'QUIT'])
def test_a_signal_while_workers_boot_ends_at_once(cserve, name):
    server = cserve(app='import time\nopen("importing", "w").close()\ntime.sleep(60)\n', start=False, workers=2)
    server.start(wait=False)
    until(lambda: (server.app_directory / 'importing').exists(), 'the import')
    begin = time.monotonic()
    server.signal(getattr(signal, 'SIG' + name))
    server.wait_exit()
    assert time.monotonic() - begin < 2 * SLOW
    server.assert_nothing_left()


def test_nothing_is_left_in_the_process_table(cserve):
    """The children of this test's process: no zombie of a failed start."""
    server = cserve(app='raise RuntimeError\n', start=False, workers=3)
    server.run_to_end()
    assert not [p for p in procfs.children(os.getpid()) if 'cserve' in procfs.title(p)]
