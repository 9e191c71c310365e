"""HUP: the new generation is ready before the old one goes; a broken one changes nothing."""
import re
import signal
import threading
import time

import pytest

from support.http import Connection, ProtocolError
from support.wait import SLOW, stays, until

VERSION = '''
import os
def application(environ, start_response):
    data = b'%s %%d' %% os.getpid()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(data)))])
    return [data]
'''


def version(name):
    return VERSION % name


def served(server):
    return server.get('/').text.split()[0]


class Load:
    """Clients that ask all the time; every request has to be answered."""

    def __init__(self, server, path='/', clients=3, keep_alive=False):
        self.server, self.path, self.keep_alive = server, path, keep_alive
        self.count, self.failures, self.seen = 0, [], set()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self):
        while not self.stop.is_set():
            try:
                response = self.server.get(self.path)
                self.count += 1
                self.seen.add(response.text.split()[0])
                if response.status != 200:
                    self.failures.append(response.status)
            except (OSError, ProtocolError) as e:
                self.failures.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        until(lambda: self.count > 10 or self.failures, 'load')
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        for t in self.threads:
            t.join(20 * SLOW)
        if kind is None:
            assert not self.failures, f'{len(self.failures)} of {self.count} failed: {self.failures[:5]}'


@pytest.mark.core
@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_a_reload_serves_the_new_code(cserve, preload):
    server = cserve(app=version('one'), workers=2, settings={'preload_app': preload})
    assert served(server) == 'one'
    old = server.workers()
    server.write_app(version('two'))
    server.signal(signal.SIGHUP)
    server.wait_workers(2, without=old, deadline=20 * SLOW)
    assert {served(server) for _ in range(20)} == {'two'}


@pytest.mark.core
@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_a_reload_under_load_loses_nothing(cserve, preload):
    server = cserve(app=version('0'), workers=2, settings={'preload_app': preload})
    with Load(server) as load:
        for i in range(1, 4):
            server.write_app(version(str(i)))
            server.signal(signal.SIGHUP)
            until(lambda: str(i) in load.seen, f'version {i}', 20 * SLOW)
    # Seen first of a canary: the old generation serves beside it until all are ready.
    until(lambda: {served(server) for _ in range(10)} == {'3'}, 'the last reload to end', 20 * SLOW)


def test_the_arbiter_keeps_its_pid(cserve):
    server = cserve(app=version('one'))
    pid = server.pid
    server.signal(signal.SIGHUP)
    server.wait_for_log('reloaded')
    assert server.pid == pid and server.is_running()


def test_the_new_generation_is_ready_before_the_old_one_drains(cserve):
    """The import takes a second; the server answers all the while, with the old code until the new one is there."""
    server = cserve(app=version('one'))
    server.write_app('import time\ntime.sleep(1)\n' + version('two'))
    with Load(server, clients=2) as load:
        server.signal(signal.SIGHUP)
        until(lambda: 'two' in load.seen, 'the new code', 20 * SLOW)


def test_requests_in_flight_are_finished_by_the_old_generation(cserve):
    server = cserve(workers=2)
    with server.begin('/sleep?s=1.5') as c:
        old = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_for_log('reloaded', deadline=20 * SLOW)
        response = c.response()
        assert response.status == 200 and int(response.text.split()[-1]) in old
    server.wait_workers(2, without=old)


BROKEN = {
    'syntax error': ('def application(:\n', r'SyntaxError'),
    'import error': ('import no_such_module_anywhere\n', r"ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
    'exception': ('raise RuntimeError("not today")\n', r'RuntimeError: not today'),
    'no attribute': ('app = None\n', r'application'),
    'not callable': ('application = 3\n', r'call'),
    'sys.exit': ('import sys\nsys.exit(3)\n', r'SystemExit|exited with status|sys\.exit'),
    'os._exit': ('import os\nos._exit(0)\n', r'exited with status 0'),
    'killed': ('import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n', r'SIGKILL'),
}


@pytest.mark.core
@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
@pytest.mark.parametrize('kind', BROKEN)
def test_a_broken_application_leaves_the_old_one_serving(cserve, kind, preload):
    text, reason = BROKEN[kind]
    server = cserve(app=version('good'), workers=2, settings={'preload_app': preload})
    before = server.workers()
    server.write_app(text)
    with Load(server) as load:
        mark = server.log_mark()
        server.signal(signal.SIGHUP)
        server.wait_for_log(r'\[error\] reload failed', since=mark, deadline=20 * SLOW)
        server.wait_for_log(reason, since=mark)
    assert load.seen == {'good'}
    assert server.workers() == before
    if kind in ('syntax error', 'import error', 'exception'):
        assert len(re.findall(reason, server.log(mark))) <= 2, 'one traceback, not one per worker'


@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_after_a_broken_reload_a_good_one_works(cserve, preload):
    server = cserve(app=version('good'), workers=2, settings={'preload_app': preload})
    server.write_app('raise RuntimeError\n')
    server.signal(signal.SIGHUP)
    server.wait_for_log('reload failed', deadline=20 * SLOW)
    server.write_app(version('better'))
    server.signal(signal.SIGHUP)
    until(lambda: served(server) == 'better', 'the new code', 20 * SLOW)
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_workers(2, without=old, deadline=20 * SLOW)


BAD_INI = {
    'unknown key': 'no_such_setting = 1\n',
    'bad value': 'threads = many\n',
    'unknown section': '[nonsense]\na = b\n',
    'no key': 'just some words\n',
}


@pytest.mark.core
@pytest.mark.parametrize('kind', BAD_INI)
def test_bad_settings_leave_the_old_ones_in_force(cserve, kind):
    server = cserve(app=version('good'))
    before = server.workers()
    server.ini_path.write_text(server.ini_path.read_text() + BAD_INI[kind])
    mark = server.log_mark()
    server.signal(signal.SIGHUP)
    server.wait_for_log(r'\[error\] reload failed', since=mark)
    assert re.search(r'conf\.ini:\d+', server.log(mark)), 'the line of the file is named'
    assert served(server) == 'good' and server.workers() == before


def test_a_missing_ini_file_leaves_the_old_settings_in_force(cserve):
    server = cserve(app=version('good'))
    before = server.workers()
    server.ini_path.rename(server.ini_path.with_suffix('.away'))
    server.signal(signal.SIGHUP)
    server.wait_for_log(r'\[error\] reload failed[^\n]*conf\.ini|conf\.ini[^\n]*[Nn]o such file')
    assert served(server) == 'good' and server.workers() == before


def test_a_missing_module_leaves_the_old_one_serving(cserve):
    server = cserve(app=version('good'))
    server.write_ini(wsgi_app='no_such_module:application')
    server.signal(signal.SIGHUP)
    server.wait_for_log(r'\[error\] reload failed')
    server.wait_for_log('no_such_module')
    assert served(server) == 'good'


def test_an_address_that_cannot_be_bound_leaves_the_old_ones(cserve):
    server = cserve(app=version('good'))
    server.write_ini(bind=[server.settings['bind'], '192.0.2.1:80'])
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"\[error\] reload failed[^\n]*192\.0\.2\.1:80")
    assert served(server) == 'good'


def test_a_hang_at_import_beyond_boot_timeout_rolls_back(cserve):
    server = cserve(app=version('good'), settings={'boot_timeout': '1'})
    before = server.workers()
    server.write_app('import time\ntime.sleep(60)\n' + version('late'))
    with Load(server):
        server.signal(signal.SIGHUP)
        server.wait_for_log(r'boot_timeout')
        server.wait_for_log(r'reload failed')
    assert served(server) == 'good' and server.workers() == before


def test_settings_are_read_anew(cserve):
    server = cserve(app='''
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [os.environ.get('COLOUR', 'none').encode()]
''')
    assert server.get('/').body == b'none'
    server.ini_env = {'COLOUR': 'green'}
    server.write_ini(workers=3, server_header='renamed')
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_workers(3, without=old)
    assert server.get('/').body == b'green'
    assert server.get('/')['Server'] == 'renamed'


def test_addresses_are_added_kept_and_removed(cserve):
    server = cserve(app=version('one'))
    other = str(server.directory / 'other')
    first = server.settings['bind']
    server.write_ini(bind=[first, f'unix:{other}'])
    server.signal(signal.SIGHUP)
    server.wait_for_log('reloaded')
    with Connection(other) as c:
        assert c.get('/').status == 200
    assert served(server) == 'one'
    server.write_ini(bind=first)
    mark = server.log_mark()
    server.signal(signal.SIGHUP)
    server.wait_for_log('reloaded', since=mark)
    until(lambda: not (server.directory / 'other').exists(), 'the socket file to go')
    assert served(server) == 'one'


def test_the_old_generation_is_waited_for_while_the_arbiter_goes_on_working(cserve):
    """During a long drain: another reload, TTIN, the death of a worker; all served at once."""
    server = cserve(settings={'graceful_timeout': '20'})
    with server.begin('/sleep?s=4', timeout=20 * SLOW) as c:
        for _ in range(2):
            mark = server.log_mark()
            server.signal(signal.SIGHUP)
            server.wait_for_log('reloaded', since=mark)
        server.signal(signal.SIGTTIN)
        fresh = until(lambda: len(server.workers()) == 3 and server.workers(), 'one old and two new workers')
        server.signal(signal.SIGKILL, fresh[-1])
        until(lambda: len(server.workers()) == 3 and fresh[-1] not in server.workers(), 'the replacement')
        assert not c.has_news()
        assert c.response().status == 200
    server.wait_workers(2)


def test_two_hups_in_a_row_coalesce(cserve):
    server = cserve(app='import time\ntime.sleep(0.5)\n' + version('one'))
    mark = server.log_mark()
    for _ in range(10):
        server.signal(signal.SIGHUP)
        time.sleep(0.01)
    until(lambda: server.log(mark).count('reloaded') >= 1, 'a reload')
    stays(lambda: server.log(mark).count('reloaded') <= 3, 'a handful of reloads', 2.5)
    assert server.log(mark).count('reloaded') >= 2
    assert served(server) == 'one'


def test_ttin_and_ttou_survive_a_reload_unless_workers_changed(cserve):
    server = cserve(app=version('one'), workers=1)
    for count in (2, 3):  # one at a time: pending signals of one kind are one
        server.signal(signal.SIGTTIN)
        old = server.wait_workers(count)
    server.signal(signal.SIGHUP)
    old = server.wait_workers(3, without=old)
    server.write_ini(workers=2)
    server.signal(signal.SIGHUP)
    server.wait_workers(2, without=old)


def test_a_template_that_dies_is_replaced(cserve):
    server = cserve(app=version('one'), workers=2, settings={'preload_app': True})
    template = until(server.template, 'the template')
    server.signal(signal.SIGKILL, template)
    until(lambda: server.template() not in (None, template), 'another template', 20 * SLOW)
    old = server.workers()
    server.signal(signal.SIGKILL, old[0])
    server.wait_workers(2, without=old[:1])
    assert served(server) == 'one'


def test_a_template_that_hangs_is_replaced(cserve):
    """It has imported long ago, and is asked for a worker that never comes."""
    server = cserve(app=version('one'), workers=2, settings={'preload_app': True, 'boot_timeout': '1'})
    template, old = server.template(), server.workers()
    server.signal(signal.SIGSTOP, template)
    server.wait_for_log(rf'template \(pid {template}\) was stopped by SIGSTOP')
    server.signal(signal.SIGKILL, old[0])
    server.wait_for_log(rf'template \(pid {template}\) has not forked worker 1 within boot_timeout, 1 s; aborting it')
    server.wait_for_log(rf'template \(pid {template}\) killed by cserve: timeout')
    server.wait_workers(2, without=old[:1], deadline=20 * SLOW)
    assert server.template() != template
    assert served(server) == 'one'


def test_a_template_that_takes_its_time_for_each_worker_is_no_hung_one(cserve):
    """boot_timeout is for each worker, however many wait for theirs."""
    server = cserve(app=version('one'), workers=5, settings={'preload_app': True, 'boot_timeout': f'{3 * SLOW:.0f}', 'hooks': 'myhooks'}, start=False)
    server.write_app(f'def pre_fork(server, worker):\n    import time\n    time.sleep({SLOW})\n', 'myhooks.py')
    server.start(wait=False)
    server.wait_ready(deadline=30 * SLOW)
    assert 'aborting' not in server.log()


def test_a_template_that_cannot_fork_for_a_reload_rolls_back(cserve):
    server = cserve(app=version('one'), workers=2, settings={'preload_app': True, 'boot_timeout': '1', 'hooks': 'myhooks'}, start=False)
    hooks = 'def pre_fork(server, worker):\n    import time\n    time.sleep({})\n'
    server.write_app(hooks.format(0), 'myhooks.py')
    server.start()
    old = server.workers()
    server.write_app(hooks.format(60), 'myhooks.py')
    server.signal(signal.SIGHUP)
    server.wait_for_log('has not forked worker 1 within boot_timeout')
    assert 'in pre_fork' in server.wait_for_log(r'(?s)myhooks\.py.*?reload failed: a worker cannot start').group(0)
    assert server.workers() == old and served(server) == 'one'
    server.write_app(hooks.format(0), 'myhooks.py')
    server.signal(signal.SIGHUP)
    server.wait_workers(2, without=old, deadline=20 * SLOW)
    assert served(server) == 'one'
