"""preload_app: the application is imported once, workers are forked from it."""
import json
import os
import re
import signal

import pytest

from support import procfs
from support.wait import SLOW, until

pytestmark = pytest.mark.core

COUNTING = '''
import json, os, gc, threading
with open('imports', 'a') as f:
    f.write('%d\\n' % os.getpid())
MADE_BY = os.getpid()
BALLAST = [str(i) for i in range(200000)]
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({'made_by': MADE_BY, 'pid': os.getpid(), 'ppid': os.getppid(), 'frozen': gc.get_freeze_count(),
                        'threads': threading.active_count(), 'main': threading.current_thread() is threading.main_thread()}).encode()]
'''


def preloaded(cserve, app=COUNTING, workers=2, **settings):
    return cserve(app=app, workers=workers, settings={'preload_app': True, **settings})


def test_the_application_is_imported_once(cserve):
    server = preloaded(cserve, workers=3)
    imports = (server.app_directory / 'imports').read_text().split()
    assert len(imports) == 1 and int(imports[0]) == server.template()
    seen = json.loads(server.get('/').body)
    assert seen['made_by'] == server.template()


def test_without_preload_each_worker_imports(cserve):
    server = cserve(app=COUNTING, workers=3)
    imports = (server.app_directory / 'imports').read_text().split()
    assert sorted(map(int, imports)) == sorted(server.workers())
    assert server.template() is None


def test_workers_are_the_arbiters_own_children(cserve):
    server = preloaded(cserve)
    assert json.loads(server.get('/').body)['ppid'] == server.pid
    assert sorted(procfs.children(server.pid)) == sorted([server.template(), *server.workers()])


def test_the_heap_is_frozen_before_the_fork(cserve):
    server = preloaded(cserve)
    assert json.loads(server.get('/').body)['frozen'] > 1000


def test_memory_is_shared(cserve, sanitized):
    if sanitized:
        pytest.skip('a sanitizer has memory of its own')
    apart, together = cserve(app=COUNTING, workers=4), preloaded(cserve, workers=4)
    for server in (apart, together):
        for _ in range(8):
            server.get('/')

    def total(server):
        return sum(procfs.pss(p) for p in server.all_pids())
    assert total(together) < 0.7 * total(apart)


def test_threads_left_by_the_import_are_named(cserve):
    server = preloaded(cserve, app='''
import threading, time
threading.Thread(target=time.sleep, args=(3600,), name='ticker-of-mine', daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
''')
    server.wait_for_log(r'\[warning\][^\n]*ticker-of-mine')
    assert server.get('/').status == 200


def test_a_killed_worker_is_forked_anew(cserve):
    server = preloaded(cserve)
    old = server.workers()
    server.signal(signal.SIGKILL, old[0])
    server.wait_workers(2, without=old[:1])
    assert len((server.app_directory / 'imports').read_text().split()) == 1


def test_a_reload_imports_anew_in_a_new_template(cserve):
    server = preloaded(cserve)
    old, template = server.workers(), server.template()
    server.signal(signal.SIGHUP)
    server.wait_workers(2, without=old, deadline=20 * SLOW)
    until(lambda: server.template() not in (None, template) and not procfs.is_alive(template), 'the new template alone')
    assert json.loads(server.get('/').body)['made_by'] == server.template()


def test_switching_preload_on_and_off_by_reload(cserve):
    server = cserve(app=COUNTING)
    for wanted in (True, False):
        old = server.workers()
        server.write_ini(preload_app=wanted)
        server.signal(signal.SIGHUP)
        server.wait_workers(1, without=old, deadline=20 * SLOW)
        until(lambda: (server.template() is not None) == wanted, f'template: {wanted}')


def test_ttin_forks_from_the_template(cserve):
    server = preloaded(cserve, workers=1)
    server.signal(signal.SIGTTIN)
    server.wait_workers(2)
    assert len((server.app_directory / 'imports').read_text().split()) == 1


def test_after_the_fork_python_knows_that_it_forked(cserve):
    server = preloaded(cserve, app='''
import os, random
hooks = []
os.register_at_fork(after_in_child=lambda: hooks.append(os.getpid()))
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %d %d' % (len(hooks), hooks[-1] == os.getpid() if hooks else 0, random.getrandbits(64))]
''')
    seen = set()

    def both():
        count, ours, number = server.get('/').text.split()
        assert int(count) >= 1 and ours == '1', 'os.register_at_fork'
        seen.add(number)
        return len(seen) >= 8
    until(both, 'different random numbers')


def test_a_broken_import_is_one_traceback(cserve):
    server = cserve(app='raise RuntimeError("once")\n', workers=4, settings={'preload_app': True}, start=False)
    assert server.run_to_end() == 4
    assert server.log().count('RuntimeError: once') == 1, server.log()


def test_the_template_does_not_listen(cserve):
    """It must not keep a socket open that a reload has closed, nor answer."""
    server = preloaded(cserve)
    pid = server.template()
    inodes = {re.search(r'\d+', t).group() for t in procfs.descriptors(pid).values() if t.startswith('socket:')}
    with open('/proc/net/tcp', encoding='ascii') as f:
        listening = {line.split()[9] for line in f if line.split()[3] == '0A'}
    if inodes & listening:
        old = server.workers()
        server.signal(signal.SIGHUP)
        server.wait_workers(2, without=old, deadline=20 * SLOW)
    until(lambda: not os.path.exists(f'/proc/{pid}') or not inodes & listening, 'the old template to let go')
