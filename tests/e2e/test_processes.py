"""How the processes look from outside: titles, daemon, pidfile, users, directories."""
import grp
import json
import os
import pwd
import re
import signal
import stat
import subprocess
import time

import pytest

from support import procfs
from support.http import request
from support.wait import SLOW, stays, until

# ---- titles ----


@pytest.mark.core
@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_ps_shows_the_tree(cserve, preload):
    server = cserve(workers=2, settings={'preload_app': preload})
    listing = subprocess.run(['ps', '-o', 'args=', '-p', ','.join(map(str, server.all_pids()))], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    wanted = ['cserve: master [standard:application]', 'cserve: worker 1 [standard:application]', 'cserve: worker 2 [standard:application]']
    if preload:
        wanted.append('cserve: template [standard:application]')
    assert sorted(line.rstrip() for line in listing.splitlines()) == sorted(wanted)


def test_titles_do_not_change_per_request(cserve):
    server = cserve()
    pid = server.workers()[0]
    before = procfs.title(pid)
    with server.connect() as c:
        c.send(request('/sleep?s=0.3'))
        while not c.has_news(0.02):
            assert procfs.title(pid) == before
    assert procfs.title(pid) == before


def test_proc_name_stands_between_the_brackets(cserve):
    server = cserve(settings={'proc_name': 'shop'})
    assert procfs.title(server.pid) == 'cserve: master [shop]'
    assert procfs.title(server.workers()[0]) == 'cserve: worker 1 [shop]'


def test_top_finds_it_by_name(cserve):
    server = cserve()
    assert all('cserve' in procfs.stat(p)[0] for p in server.all_pids())


def test_worker_numbers_are_seats_and_are_used_again(cserve):
    server = cserve(workers=2)
    server.signal(signal.SIGKILL, server.workers()[0])
    until(lambda: sorted(procfs.title(p)[:16] for p in server.workers()) == ['cserve: worker 1', 'cserve: worker 2'], 'seats 1 and 2')


# ---- pidfile ----

def test_the_pidfile_holds_the_arbiter_and_goes_with_it(cserve):
    server = cserve(settings={'pidfile': 'cserve.pid'})
    path = server.directory / 'cserve.pid'
    assert path.read_text().strip() == str(server.pid)
    server.stop()
    assert not path.exists()


@pytest.mark.parametrize('text', ['', 'garbage\n', '999999999\n', '-1\n', '1\n', '0\n', '\0\0\0'], ids=['empty', 'garbage', 'stale', 'negative',
                                                                                              'reused', 'zero', 'binary'])
def test_a_stale_pidfile_does_not_block_a_start(cserve, text):
    server = cserve(start=False, settings={'pidfile': 'cserve.pid'})
    path = server.directory / 'cserve.pid'
    path.write_text(text)
    server.start()
    assert path.read_text().strip() == str(server.pid)


def test_the_pidfile_survives_a_reload(cserve):
    server = cserve(settings={'pidfile': 'cserve.pid'})
    server.signal(signal.SIGHUP)
    server.wait_for_log('reloaded')
    assert (server.directory / 'cserve.pid').read_text().strip() == str(server.pid)


def test_a_pidfile_of_somebody_else_is_not_removed(cserve):
    server = cserve(settings={'pidfile': 'cserve.pid'})
    path = server.directory / 'cserve.pid'
    path.unlink()
    path.write_text('12345\n')
    server.stop()
    assert path.read_text() == '12345\n'


def test_after_sigkill_the_pidfile_is_stale_and_no_obstacle(cserve):
    server = cserve(settings={'pidfile': 'cserve.pid'})
    server.signal(signal.SIGKILL)
    server.wait_exit()
    mark = server.log_mark()
    server.start(wait=False)
    server.wait_ready(since=mark)
    assert (server.directory / 'cserve.pid').read_text().strip() == str(server.pid)


# ---- daemon ----

def _daemon(server):
    """Runs the command to its end; its status. The daemon, if there is one, is adopted by its pidfile."""
    path = server.directory / 'cserve.pid'
    status = server.process.wait(20 * SLOW)
    if path.exists() and path.read_text().strip():
        server.adopt_daemon(int(path.read_text()))
    return status


@pytest.fixture
def daemon(cserve):
    def make(**options):
        settings = {'daemon': True, 'pidfile': 'cserve.pid', 'errorlog': 'error.txt', **options.pop('settings', {})}
        server = cserve(wait=False, settings=settings, **options)
        return server, _daemon(server)
    return make


@pytest.mark.core
def test_the_daemon_answers_when_the_command_returns(daemon):
    server, status = daemon(workers=2)
    assert status == 0, server.output()
    assert server.get('/').status == 200
    server.stop()
    assert not (server.directory / 'cserve.pid').exists()


def test_the_daemon_has_left_the_terminal(daemon):
    server, _ = daemon()
    for pid in [server.pid, *server.workers()]:
        assert procfs.session(pid) != server.process.pid
        files = procfs.descriptors(pid)
        assert [files[n] for n in (0, 1, 2)] == ['/dev/null'] * 3, files
    assert procfs.session(server.pid) != server.pid, 'a process that leads a group could acquire a terminal'


def test_the_daemon_keeps_its_directory_for_relative_paths(daemon):
    server, _ = daemon()
    assert 'is ready' in (server.directory / 'error.txt').read_text()
    server.signal(signal.SIGHUP)
    until(lambda: 'reloaded' in (server.directory / 'error.txt').read_text(), 'the reload')


@pytest.mark.parametrize('app, status, text', [('raise RuntimeError("broken")\n', 4, 'RuntimeError: broken'), ('import os\nos._exit(9)\n', 3, 'status 9')])
def test_a_daemon_that_cannot_start_says_so_on_the_terminal(daemon, app, status, text):
    server, got = daemon(app=app)
    assert got == status
    assert text in server.log() + (server.directory / 'error.txt').read_text()
    server.assert_nothing_left()


def test_the_error_of_a_daemons_start_is_on_the_terminal(daemon):
    server, got = daemon(app='raise RuntimeError("broken")\n')
    assert got == 4 and 'RuntimeError: broken' in server.log(), 'nothing on stderr'


def test_a_daemon_with_bad_settings_fails_before_it_leaves(daemon):
    server, status = daemon(settings={'workers': 'many'})
    assert status == 1 and 'many' in server.log()


def test_a_daemon_whose_port_is_taken_fails_before_it_leaves(cserve):
    first = cserve()
    second = cserve(start=False, settings={'daemon': True, 'bind': first.settings['bind']})
    assert second.run_to_end() == 1
    assert 'in use' in second.log()


# ---- users, directories, modes ----

IDENTITY = '''
import json, os
def application(environ, start_response):
    umask = os.umask(0)
    os.umask(umask)
    start_response('200 OK', [])
    return [json.dumps({'uid': os.getresuid(), 'gid': os.getresgid(), 'groups': os.getgroups(), 'umask': umask, 'cwd': os.getcwd(),
                        'home': os.environ.get('HOME'), 'colour': os.environ.get('COLOUR')}).encode()]
'''


def identity(server):
    return json.loads(server.get('/').body)


@pytest.mark.root
@pytest.mark.core
@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_workers_run_as_the_user_and_group(cserve, preload):
    nobody = pwd.getpwnam('nobody')
    server = cserve(app=IDENTITY, settings={'user': 'nobody', 'group': str(nobody.pw_gid), 'preload_app': preload})
    seen = identity(server)
    assert seen['uid'] == [nobody.pw_uid] * 3 and seen['gid'] == [nobody.pw_gid] * 3
    assert 0 not in seen['groups']
    assert os.stat(f'/proc/{server.pid}').st_uid == 0, 'the arbiter keeps the right to bind and to change users'


@pytest.mark.root
def test_a_user_by_number_that_has_no_name(cserve):
    server = cserve(app=IDENTITY, settings={'user': '54321', 'group': '54321'})
    seen = identity(server)
    assert seen['uid'] == [54321] * 3 and seen['gid'] == [54321] * 3
    assert not set(seen['groups']) - {54321}, 'no group of root is left'


@pytest.mark.root
def test_the_user_alone_brings_its_group(cserve):
    server = cserve(app=IDENTITY, settings={'user': 'nobody'})
    seen = identity(server)
    assert seen['uid'] == [pwd.getpwnam('nobody').pw_uid] * 3
    assert 0 not in seen['groups']


@pytest.mark.root
@pytest.mark.parametrize('asked', ['user', 'user and group'])
def test_supplementary_groups_are_set_whenever_the_user_is(cserve, asked):
    members = [pwd.getpwnam(name) for g in grp.getgrall() for name in g.gr_mem if name not in ('root', '') and name in {p.pw_name for p in pwd.getpwall()}]
    user = members[0] if members else pwd.getpwnam('nobody')  # one that has some, if the machine has one
    settings = {'user': user.pw_name} if asked == 'user' else {'user': user.pw_name, 'group': str(user.pw_gid)}
    server = cserve(app=IDENTITY, settings=settings)
    assert set(identity(server)['groups']) == set(os.getgrouplist(user.pw_name, user.pw_gid))


@pytest.mark.root
def test_privileges_cannot_be_taken_back(cserve):
    server = cserve(app='''
import os
def application(environ, start_response):
    try:
        os.setuid(0)
        answer = b'root again'
    except OSError:
        answer = b'refused'
    start_response('200 OK', [])
    return [answer]
''', settings={'user': 'nobody', 'group': 'nogroup'})
    assert server.get('/').body == b'refused'


@pytest.mark.root
def test_workers_of_another_user_die_with_the_arbiter(cserve):
    """The parent-death signal is cleared by a change of user, so it must be set behind it."""
    server = cserve(app=IDENTITY, workers=2, settings={'user': 'nobody', 'group': 'nogroup'})
    pids = server.all_pids()
    server.signal(signal.SIGKILL)
    until(lambda: not any(procfs.is_alive(p) for p in pids), 'the end of all processes', 1 * SLOW)
    server.wait_exit()


@pytest.mark.root
def test_workers_of_another_user_reload(cserve):
    server = cserve(app=IDENTITY, settings={'user': 'nobody', 'group': 'nogroup', 'errorlog': 'error.txt'}, wait=False)
    log = server.directory / 'error.txt'
    until(lambda: log.exists() and 'is ready' in log.read_text(), 'a ready worker')
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_workers(1, without=old)
    assert identity(server)['uid'][0] == pwd.getpwnam('nobody').pw_uid


def test_umask_and_directory_and_environment(cserve):
    server = cserve(app=IDENTITY, settings={'umask': '0027', 'raw_env': 'COLOUR=red=green'})
    seen = identity(server)
    assert seen['umask'] == 0o027 and seen['cwd'] == str(server.app_directory) and seen['colour'] == 'red=green'


def test_without_home(cserve):
    server = cserve(app=IDENTITY, env={'HOME': None, 'USER': None, 'LOGNAME': None, 'PATH': None})
    assert identity(server)['home'] is None


@pytest.mark.core
def test_as_an_ordinary_user(cserve, need):
    """Everything that a user without rights does: start, serve, reload, stop."""
    prefix = []
    server = cserve(start=False, workers=2)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam('nobody')
        prefix = [need('setpriv'), f'--reuid={nobody.pw_uid}', f'--regid={nobody.pw_gid}', '--clear-groups']
        copy = server.directory / 'cserve'
        copy.write_bytes(open(server.binary, 'rb').read())  # the build directory may be closed to others
        copy.chmod(0o755)
        server.binary = str(copy)
        server.settings['chdir'] = str(server.app_directory)
        server.write_app(open(os.path.join(os.path.dirname(__file__), 'apps', 'standard.py'), encoding='utf-8').read(), 'standard.py')
        server.app_directory.chmod(0o755)
        os.chown(server.directory, nobody.pw_uid, nobody.pw_gid)
        for parent in list(server.directory.parents)[:4]:
            if not os.stat(parent).st_mode & 0o001:
                pytest.skip(f'{parent} is closed to other users')
    server.prefix = prefix
    server.settings.update({'pidfile': 'cserve.pid', 'bind': [server.settings['bind'], f'unix:{server.directory}/s']})
    server.start()
    assert server.get('/').status == 200
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_workers(2, without=old, deadline=20 * SLOW)
    assert server.get('/').status == 200
    server.stop()
    assert not (server.directory / 'cserve.pid').exists() and not (server.directory / 's').exists()


def test_a_closed_stdin_stdout_and_stderr_harm_nobody(cserve):
    server = cserve(prefix=['/bin/sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh'], settings={'errorlog': 'error.txt'}, wait=False)
    log = server.directory / 'error.txt'
    until(lambda: log.exists() and 'is ready' in log.read_text(), 'a ready worker')
    for pid in [server.pid, *server.workers()]:
        assert set(procfs.descriptors(pid)) >= {0, 1, 2}
    with server.connect() as c:
        response = c.get('/print')
        assert response.status == 200 and response.body == b'printed'


def test_descriptors_do_not_leak_into_programs_that_the_application_starts(cserve):
    server = cserve(app='''
import subprocess
def application(environ, start_response):
    out = subprocess.run('ls -l /proc/self/fd', shell=True, close_fds=False, stdout=subprocess.PIPE)
    start_response('200 OK', [])
    return [out.stdout]
''')
    kept = re.findall(r' (\d+) -> ', server.get('/').text)
    assert set(map(int, kept)) <= {0, 1, 2, 3}, server.get('/').text


def test_descriptors_do_not_grow_over_reloads_and_deaths(cserve):
    server = cserve(workers=2)

    def settle():
        old = server.workers()
        server.signal(signal.SIGHUP)
        new = server.wait_workers(2, without=old, deadline=20 * SLOW)
        server.signal(signal.SIGKILL, new[0])
        server.wait_workers(2, without=[*old, new[0]], deadline=20 * SLOW)
        return len(procfs.descriptors(server.pid))
    first = settle()
    for _ in range(3):
        last = settle()
    assert last <= first + 1


def test_files_have_the_mode_that_the_umask_allows(cserve):
    server = cserve(settings={'umask': '0077', 'accesslog': 'access.txt', 'pidfile': 'cserve.pid'})
    server.get('/')
    for name in ('access.txt', 'cserve.pid'):
        mode = stat.S_IMODE(os.stat(server.directory / name).st_mode)
        assert mode & 0o002 == 0, f'{name} has mode {mode:o}'


def test_the_arbiter_sleeps(cserve):
    server = cserve(workers=2)
    stays(lambda: procfs.stat(server.pid)[1] == 'S', 'sleep', 0.5)
    before = procfs.cpu_seconds(server.pid)
    time.sleep(1)  # the thing measured is a second of nothing
    assert procfs.cpu_seconds(server.pid) - before <= 0.02
