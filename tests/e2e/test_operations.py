"""The bad days: reloads, broken deploys, stops, upgrades and recycling under load, with every request accounted for."""
import errno
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest
from load import Load

from support import procfs
from support.http import ProtocolError, request
from support.server import APPS
from support.wait import SLOW, stays, until

MIXED = {'close': 2, 'keep': 3, 'post': 2, 'slow': 2, 'pipe': 1}
STANDARD = (APPS / 'standard.py').read_text(encoding='utf-8')


def numbered(version):
    return STANDARD + f'\nVERSION = {version!r}\n'


def reload(server, deadline=None):
    mark = server.log_mark()
    server.signal(signal.SIGHUP)
    return server.wait_for_log('reloaded|reload failed', since=mark, deadline=deadline or 20 * SLOW).group()


# ---- reload as a transaction ----

@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_fifty_reloads_under_steady_load_lose_nothing(cserve, preload):
    server = cserve(app=numbered(0), workers=2, settings={'preload_app': preload})
    with Load(server.address, MIXED, slow_seconds=1.0) as load:
        for i in range(50):
            server.write_app(numbered(i))
            assert reload(server) == 'reloaded'
    assert load.counts['answered'] > 50
    assert load.counts['raced'] == 0, f'idle connections are to be handed on, not closed: {load}'
    server.wait_workers(2, deadline=20 * SLOW)


def test_requests_of_a_second_in_flight_survive_reloads(cserve):
    server = cserve(workers=4)
    with Load(server.address, {'slow': 8}, slow_seconds=1.0) as load:
        for _ in range(5):
            assert reload(server) == 'reloaded'
            until(lambda before=load.counts['answered']: load.counts['answered'] > before, 'an answer')
    assert load.counts['answered'] == load.sent


def _deploys(server):
    """(name, how it breaks, how it is mended)"""
    def code(text):
        return (lambda: server.write_app(text)), (lambda: server.write_app(STANDARD))

    def ini(**changes):
        before = {k: server.settings.get(k) for k in changes}
        return (lambda: server.write_ini(**changes)), (lambda: server.write_ini(**before))
    away = server.ini_path.with_suffix('.away')
    return {
        'syntax error': code('def application(:\n'),
        'import error': code('import no_such_module_anywhere\n'),
        'exception at import': code('1 / 0\n'),
        'no callable': code('x = 1\n'),
        'not callable': code('application = "text"\n'),
        'exit at boot': code('import os\nos._exit(1)\n'),
        'sys.exit at boot': code('import sys\nsys.exit(0)\n'),
        'crash at boot': code('import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n'),
        'hang at boot': code('import time\ntime.sleep(60)\n'),
        'spin at boot': code('while True:\n    pass\n'),
        'empty file': code(''),
        'binary rubbish': code('\x00\x01\x02'),
        'unknown setting': ini(no_such_setting='1'),
        'bad value': ini(threads='many'),
        'missing module': ini(wsgi_app='no_such_module:application'),
        'missing directory': ini(chdir='/no/such/directory'),
        'address of somebody else': ini(bind=[server.settings['bind'], '192.0.2.1:80']),
        'missing settings file': ((lambda: server.ini_path.rename(away)), (lambda: away.rename(server.ini_path))),
    }


@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_broken_deploys_of_every_kind_under_load_lose_nothing(cserve, preload):
    server = cserve(app=STANDARD, workers=2, settings={'preload_app': preload, 'boot_timeout': f'{1000 * SLOW:.0f}ms'})
    server.expect_sanitizer_report = True  # of the crash that a deploy is made of
    before = server.workers()
    with Load(server.address, MIXED, slow_seconds=0.3) as load:
        for name, (break_it, mend) in _deploys(server).items():
            break_it()
            mark = server.log_mark()
            assert reload(server) == 'reload failed', name
            assert [line for line in server.log_lines(mark) if line[2] == 'error'], f'{name}: not at error level'
            assert server.workers()[:2] == before, name
            mend()
    assert load.counts['raced'] == 0, str(load)
    assert reload(server) == 'reloaded', 'a good deploy after all the broken ones'


def test_a_canary_becomes_ready_before_the_rest_boots(cserve):
    server = cserve(app=STANDARD, workers=4)
    server.write_app('import time\nwith open("boots", "a") as f:\n    f.write("boot\\n")\ntime.sleep(0.6)\n' + STANDARD)
    boots = server.app_directory / 'boots'
    server.signal(signal.SIGHUP)
    until(lambda: boots.exists() and boots.read_text(), 'the first boot')
    stays(lambda: len(boots.read_text().split()) == 1, 'the canary alone', 0.4)
    server.wait_for_log('reloaded', deadline=20 * SLOW)
    assert len(boots.read_text().split()) == 4


def test_signals_are_served_while_the_canary_hangs(cserve):
    server = cserve(app=STANDARD, workers=2, settings={'boot_timeout': '30'})
    server.write_app('import time\nopen("importing", "w").close()\ntime.sleep(30)\n')
    server.signal(signal.SIGHUP)
    until((server.app_directory / 'importing').exists, 'the import')
    old = [p for p in server.workers()]
    server.signal(signal.SIGKILL, old[0])
    until(lambda: old[0] not in server.workers(), 'the death of a worker')
    assert server.get('/').status == 200
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 3 * SLOW


# ---- stop ----

def test_a_stop_under_load_cuts_nothing(cserve):
    server = cserve(workers=2)
    load = Load(server.address, MIXED, slow_seconds=0.5, allowed=('answered', 'raced', 'refused'))
    with load:
        until(lambda: load.counts['answered'] > 20, 'load')
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    assert load.counts['refused'] > 0


def test_what_waits_in_the_kernel_when_term_comes_is_answered(cserve):
    """One worker, busy for a second; fifty connections wait to be accepted."""
    server = cserve(workers=1, settings={'handover_delay': '0'})
    clients = [server.begin('/sleep?s=1')] + [server.connect() for _ in range(50)]
    for i, c in enumerate(clients[1:]):
        c.send(request(f'/id?n={i}'))
    server.signal(signal.SIGTERM)
    assert clients[0].response().status == 200
    for i, c in enumerate(clients[1:]):
        response = c.response()
        assert response.status == 200 and response.text.split()[0] == str(i)
        c.close()
    clients[0].close()
    assert server.wait_exit() == 0


def test_who_connects_during_a_stop_is_refused_not_cut(cserve):
    """And a connection that was half made when TERM came, which is what packets with the most hops to live look like, is answered."""
    server = cserve(workers=1)
    with server.begin('/sleep?s=1') as running, socket.socket() as late, socket.socket() as half_made:
        server.signal(signal.SIGTERM)
        server.wait_for_log('SIGTERM: stopping')
        late.setblocking(False)
        late.connect_ex(server.address)
        half_made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        half_made.settimeout(10 * SLOW)
        half_made.connect(server.address)
        half_made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
        half_made.sendall(request('/id?n=7'))
        assert not select.select([], [late], [], 0.1)[1], 'connected'
        assert running.response().status == 200
        assert half_made.recv(1000).startswith(b'HTTP/1.1 200')
        assert server.wait_exit() == 0
        until(lambda: late.connect_ex(server.address) == errno.ECONNREFUSED, 'the refusal', 10 * SLOW)


def test_the_pidfile_stays_until_the_end_of_a_stop(cserve):
    server = cserve(settings={'pidfile': 'cserve.pid'})
    path = server.directory / 'cserve.pid'
    with server.begin('/sleep?s=1') as c:
        server.signal(signal.SIGTERM)
        while not c.has_news(0.05):
            assert path.exists()
        c.response()
    server.wait_exit()
    assert not path.exists()


def test_requests_that_are_cut_at_the_end_of_graceful_timeout_are_named(cserve):
    server = cserve(workers=2, settings={'graceful_timeout': '600ms'})
    clients = [server.begin(f'/sleep?s=20&which={i}') for i in range(2)]
    server.stop()
    for i in range(2):
        server.wait_for_log(rf'GET /sleep\?s=20&which={i}')
    for c in clients:
        c.close()


# ---- upgrade in place ----

@pytest.fixture
def own_binary(cserve):
    """A server that runs from a copy of the binary, which a test may replace."""
    def make(**options):
        server = cserve(start=False, **options)
        copy = server.directory / 'cserve'
        shutil.copy(server.binary, copy)
        server.binary = str(copy)
        server.start()
        return server
    return make


def _replace(server, data):
    """As a package manager does: a new file under the old name."""
    new = server.directory / 'cserve.new'
    new.write_bytes(data)
    new.chmod(0o755)
    new.replace(server.binary)


@pytest.mark.parametrize('preload', [False, True], ids=['direct', 'preload'])
def test_usr2_runs_the_new_binary_under_the_same_pid(own_binary, preload):
    server = own_binary(workers=2, settings={'preload_app': preload, 'pidfile': 'cserve.pid'})
    pid, old = server.pid, server.workers()
    before = os.stat(f'/proc/{pid}/exe').st_ino
    with open(server.binary, 'rb') as f:
        _replace(server, f.read())
    with Load(server.address, MIXED, slow_seconds=0.5) as load:
        server.signal(signal.SIGUSR2)
        server.wait_workers(2, without=old, deadline=30 * SLOW)
    assert load.counts['raced'] == 0, str(load)
    assert os.stat(f'/proc/{pid}/exe').st_ino != before, 'the old image still runs'
    assert (server.directory / 'cserve.pid').read_text().strip() == str(pid)
    assert procfs.title(pid).startswith('cserve: master')


def test_after_an_upgrade_everything_still_works(own_binary):
    server = own_binary(app=STANDARD, workers=2)
    for _ in range(2):
        old = server.workers()
        server.signal(signal.SIGUSR2)
        server.wait_workers(2, without=old, deadline=30 * SLOW)
    old = server.workers()
    server.signal(signal.SIGKILL, old[0])
    server.wait_workers(2, without=old[:1])
    server.signal(signal.SIGTTIN)
    old = server.wait_workers(3)
    assert reload(server) == 'reloaded'
    server.wait_workers(3, without=old)
    assert server.get('/').status == 200
    server.stop()


def test_the_old_workers_finish_their_requests_through_an_upgrade(own_binary):
    server = own_binary(workers=2)
    with server.begin('/sleep?s=2') as c:
        old = server.workers()
        server.signal(signal.SIGUSR2)
        until(lambda: len(set(server.workers()) - set(old)) == 2, 'new workers', 30 * SLOW)
        response = c.response()
        assert response.status == 200 and int(response.text.split()[-1]) in old
    server.wait_workers(2, without=old)


def test_a_worker_that_hangs_across_an_upgrade_is_still_watched(own_binary):
    """The scoreboard and the knowledge of the workers survive."""
    server = own_binary(workers=2, settings={'timeout': '2'})
    with server.begin('/sleep?s=30', timeout=20 * SLOW) as c:
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r'timeout[^\n]*GET /sleep\?s=30', deadline=20 * SLOW)
        try:
            assert c.response().status == 504
        except (ProtocolError, ConnectionResetError):
            pass
    server.wait_workers(2, deadline=20 * SLOW)


@pytest.mark.parametrize('rubbish', [b'#!/bin/sh\nexit 1\n', b'no program at all', b'#!/bin/sh\nexec sleep 60\n', b''],
                         ids=['fails', 'rubbish', 'hangs', 'empty'])
def test_a_binary_that_does_not_start_leaves_the_old_one_running(own_binary, rubbish):
    server = own_binary(workers=2, settings={'boot_timeout': '2'})
    before, pid = server.workers(), server.pid
    _replace(server, rubbish)
    mark = server.log_mark()
    with Load(server.address, {'keep': 2}) as load:
        server.signal(signal.SIGUSR2)
        server.wait_for_log(r'\[error\] [^\n]*upgrade', since=mark, deadline=30 * SLOW)
    assert load.counts['answered'] == load.sent
    assert server.workers() == before and server.pid == pid
    assert server.get('/').status == 200


def test_an_upgrade_whose_settings_fail_only_after_the_check_goes_back_to_the_old_command(own_binary):
    """The new one, another version let us say, does not know a setting."""
    server = own_binary(workers=2, settings={'pidfile': 'cserve.pid', 'boot_timeout': '30'})
    before, pid = server.workers(), server.pid
    with open(server.binary, 'rb') as f:
        good = f.read()
    real = server.directory / 'real'
    real.write_bytes(good.replace(b'\0boot_timeout\0', b'\0boot_patienc\0'))
    real.chmod(0o755)
    _replace(server, f"""#!/bin/sh
for argument; do [ "$argument" != --check-config ] || exit 0; done
exec {real} "$@"
""".encode())
    mark = server.log_mark()
    with Load(server.address, MIXED, slow_seconds=0.5) as load:
        server.signal(signal.SIGUSR2)
        server.wait_for_log('upgrade failed: the new command could not load its settings; the old command goes on', since=mark, deadline=30 * SLOW)
    assert load.counts['answered'] == load.sent, str(load)
    assert server.workers() == before and server.pid == pid
    real.unlink()
    shutil.copy(f'/proc/{pid}/exe', real)  # what the command is called now
    server.signal(signal.SIGUSR2)
    server.wait_workers(2, without=before, deadline=30 * SLOW)
    assert (server.directory / 'cserve.pid').read_text().strip() == str(pid)


def test_an_upgrade_whose_workers_cannot_start_leaves_the_old_ones_serving(own_binary):
    server = own_binary(workers=2, settings={'boot_timeout': '10'})
    before, pid = server.workers(), server.pid
    real = shutil.copy(server.binary, server.directory / 'real')
    _replace(server, f"""#!/bin/sh
for argument; do [ "$argument" != --check-config ] || exit 0; done
exec {real} "$@" --pythonpath /nowhere --chdir /
""".encode())
    mark = server.log_mark()
    with Load(server.address, {'keep': 3, 'close': 2}) as load:
        server.signal(signal.SIGUSR2)
        server.wait_for_log('reload failed: the application cannot be loaded; the old generation goes on', since=mark, deadline=30 * SLOW)
    assert load.counts['answered'] == load.sent, str(load)
    assert server.workers() == before and server.pid == pid


def test_an_upgrade_keeps_unix_sockets(own_binary):
    server = own_binary(bind='unix', workers=2)
    before, old = os.stat(server.address).st_ino, server.workers()
    server.signal(signal.SIGUSR2)
    server.wait_workers(2, without=old, deadline=30 * SLOW)
    assert os.stat(server.address).st_ino == before
    assert server.get('/').status == 200
    server.stop()
    assert not os.path.exists(server.address)


def test_descriptors_do_not_grow_over_upgrades(own_binary):
    server = own_binary(workers=1)

    def upgrade():
        old = server.workers()
        server.signal(signal.SIGUSR2)
        server.wait_workers(1, without=old, deadline=30 * SLOW)
        return len(procfs.descriptors(server.pid))
    first = upgrade()
    for _ in range(3):
        last = upgrade()
    assert last <= first


# ---- recycling ----

def test_max_requests_under_load_loses_nothing(cserve):
    server = cserve(workers=4, settings={'max_requests': '200'})
    first = server.workers()
    with Load(server.address, {'keep': 4, 'close': 2, 'post': 2}) as load:
        until(lambda: not set(first) & set(server.workers()), 'all to be replaced', 60 * SLOW)
    assert load.counts['raced'] == 0, str(load)
    server.wait_for_log('max_requests')


def test_at_most_a_quarter_of_the_workers_is_recycled_at_a_time(cserve):
    server = cserve(workers=4, settings={'max_requests': '30'})
    most, before = 0, set()
    with Load(server.address, {'keep': 6}):
        end = time.monotonic() + 3
        while time.monotonic() < end:
            now = set(server.workers())
            most = max(most, len(now & before))  # both looks saw them: they lived at the same time
            before = now
    assert most <= 5, 'more than one replacement at a time'


def test_the_replacement_is_ready_before_a_worker_retires(cserve):
    """The import takes half a second; there is always somebody who answers."""
    server = cserve(app='import time\ntime.sleep(0.5)\n' + STANDARD, workers=1, settings={'max_requests': '50'})
    end = time.monotonic() + 3
    worst = 0.0
    while time.monotonic() < end:
        begin = time.monotonic()
        server.get('/')
        worst = max(worst, time.monotonic() - begin)
    assert len(set(re.findall(r'pid (\d+)\) is ready', server.log()))) >= 2
    assert worst < 0.4 * SLOW


def test_jitter_spreads_the_ends(cserve):
    server = cserve(app='''
import os
count = 0
def application(environ, start_response):
    global count
    count += 1
    with open(f'count-{os.getpid()}', 'w') as f:
        f.write(str(count))
    start_response('200 OK', [])
    return [b'ok']
''', workers=1, settings={'max_requests': '20', 'max_requests_jitter': '200'})

    def ended():
        server.get('/')
        now = server.workers()
        files = [p for p in server.app_directory.glob('count-*') if int(p.name[6:]) not in now]
        return files if len(files) >= 4 else None
    counts = [int(p.read_text()) for p in until(ended, 'four ends', 60 * SLOW, interval=0)]
    assert len(set(counts)) > 1, counts
    assert min(counts) >= 20


def test_max_worker_age(cserve):
    server = cserve(workers=2, settings={'max_worker_age': '1'})
    first = server.workers()
    with Load(server.address, {'keep': 2, 'close': 1}) as load:
        until(lambda: not set(first) & set(server.workers()), 'both to be replaced', 20 * SLOW)
    assert load.counts['raced'] == 0, str(load)
    server.wait_for_log('max_worker_age')


def test_max_worker_memory(cserve, sanitized):
    if sanitized:
        pytest.skip('a sanitizer has memory of its own')
    server = cserve(app='''
kept = []
def application(environ, start_response):
    kept.append(b'x' * 1000000 + str(len(kept)).encode())
    start_response('200 OK', [])
    return [b'ok']
''', workers=1, settings={'max_worker_memory': '60m'})
    first = server.workers()

    def replaced():
        assert server.get('/').status == 200
        return server.workers() != first and first[0] not in server.workers()
    until(replaced, 'the replacement', 60 * SLOW, interval=0.05)
    server.wait_for_log('max_worker_memory')


def test_recycling_finishes_streams(cserve):
    server = cserve(workers=1, settings={'max_requests': '3'})
    old = server.workers()
    with server.connect() as c:
        c.send(request('/stream?n=10&size=10&pause=0.1'))
        for _ in range(5):
            assert server.get('/').status == 200
        assert len(c.response().body) == 100
    server.wait_workers(1, without=old, deadline=20 * SLOW)


# ---- forks that fail ----

@pytest.mark.root
def test_a_fork_that_fails_is_an_event_and_not_the_end(cserve, need):
    """As a user whose processes are counted: root's are not."""
    server = cserve(start=False, app=STANDARD, workers=2)
    shutil.copy(server.binary, server.directory / 'cserve')
    server.binary = str(server.directory / 'cserve')
    uid = 40000 + os.getpid() % 20000
    os.chown(server.directory, uid, uid)
    server.prefix = [need('setpriv'), f'--reuid={uid}', f'--regid={uid}', '--clear-groups']
    server.start()
    prlimit = [*server.prefix, need('prlimit'), f'--pid={server.pid}']
    old = server.workers()
    subprocess.run([*prlimit, '--nproc=1:'], check=True)
    server.signal(signal.SIGKILL, old[0])
    server.wait_for_log(r'cannot fork worker 1')
    assert server.get('/').status == 200
    stays(server.is_running, 'the arbiter', 0.5)
    subprocess.run([*prlimit, '--nproc=1000:'], check=True)
    server.wait_workers(2, without=old[:1], deadline=30 * SLOW)
