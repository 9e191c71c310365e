"""The hooks module."""
import signal

import pytest

pytestmark = pytest.mark.core

HOOKS = '''
def on_starting(server):
    server.log.info('hook on_starting %s', server.cfg.wsgi_app)

def pre_fork(server, worker):
    server.log.info('hook pre_fork %d', worker.age)

def post_fork(server, worker):
    server.log.info('hook post_fork %s %d %d', worker.pid, worker.age, server.pid == worker.ppid)

def post_worker_init(worker):
    worker.log.info('hook post_worker_init %(name)s', {'name': worker.cfg.wsgi_app})

def worker_int(worker):
    worker.log.info('hook worker_int %d', worker.pid)

def worker_exit(server, worker):
    server.log.warning('hook worker_exit', exc_info=True)

def pre_request(worker, req):
    worker.log.debug('hook pre_request %s %s %s %s %s', req.method, req.path, req.query, req.version, dict(req.headers).get('X-A'))
    if req.path == '/bad-before':
        raise ValueError('pre_request says no')

def post_request(worker, req, environ, resp):
    worker.log.debug('hook post_request %s %s %s %d', req.uri, environ['PATH_INFO'], resp.status, resp.status_code)
    if req.path == '/bad-after':
        raise ValueError('post_request says no')
'''

APP = '''
def application(environ, start_response):
    if environ['PATH_INFO'] == '/error':
        raise ValueError
    start_response('200 Fine', [])
    return [b'hello']
'''


def start(cserve, hooks=HOOKS, **settings):
    server = cserve(app=APP, settings={'hooks': 'myhooks', 'loglevel': 'debug', **settings}, start=False)
    server.write_app(hooks, 'myhooks.py')
    return server


def test_hooks_of_a_worker(cserve):
    server = start(cserve).start()
    assert server.get('/a?b', 'X-A: b').body == b'hello'
    assert server.get('/error').status == 500
    server.stop()
    log = server.log()
    for words in ('hook post_fork', 'hook post_worker_init app:application', 'hook pre_request GET /a b (1, 1) b', 'hook post_request /a?b /a 200 Fine 200',
                  'hook post_request /error /error 500 Internal Server Error 500', 'hook worker_exit'):
        assert words in log, words
    assert 'hook on_starting' not in log


def test_worker_int_runs_when_a_worker_is_interrupted(cserve):
    server = start(cserve).start()
    old = server.workers()
    server.signal(signal.SIGINT, old[0])
    server.wait_for_log(f'hook worker_int {old[0]}')
    server.wait_for_log('hook worker_exit')
    server.wait_workers(1, without=old)


def test_hooks_of_a_template(cserve):
    server = start(cserve, preload_app='true').start()
    server.stop()
    log = server.log()
    assert log.index('hook on_starting app:application') < log.index('hook pre_fork') < log.index('hook post_fork') < log.index('hook post_worker_init')


def test_a_hook_that_raises_does_not_hurt_a_request(cserve):
    server = start(cserve).start()
    for path, name in (('/bad-before', 'pre_request'), ('/bad-after', 'post_request')):
        assert server.get(path).body == b'hello'
        server.wait_for_log(f"the hook '{name}' failed")
    assert 'ValueError: pre_request says no' in server.log()


@pytest.mark.parametrize('arguments', ['worker, req', 'worker, req, environ', 'worker, req, environ, resp'])
def test_every_shape_of_post_request(cserve, arguments):
    server = start(cserve, f'def post_request({arguments}):\n    worker.log.info("hook %d", len(locals()))\n').start()
    server.get()
    server.wait_for_log(f'hook {arguments.count(",") + 1}')


def test_post_worker_init_that_raises_is_fatal(cserve):
    server = start(cserve, 'def post_worker_init(worker):\n    raise ValueError("not today")\n')
    assert server.run_to_end() == 3
    assert "the hook 'post_worker_init' failed" in server.log() and 'ValueError: not today' in server.log()


def test_a_hooks_module_that_is_not_there(cserve):
    server = cserve(app=APP, settings={'hooks': 'nosuchhooks'}, start=False)
    assert server.run_to_end() == 3
    assert "cannot import the hooks module 'nosuchhooks'" in server.log()


HANGS = """
import itertools, time

def application(environ, start_response):
    if environ['PATH_INFO'] == '/sleep':
        time.sleep(60)
    if environ['PATH_INFO'] == '/gil':
        sum(itertools.repeat(1, 10 ** 13))  # never looks for a signal
    start_response('200 OK', [])
    return [b'hello']
"""


@pytest.mark.parametrize('preload', ['false', 'true'])
def test_worker_abort_runs_in_a_hung_worker(cserve, preload):
    server = start(cserve, 'def worker_abort(worker):\n    worker.log.error("hook worker_abort %d", worker.pid)\n', timeout='1', preload_app=preload)
    server.write_app(HANGS)
    server.start()
    worker, = server.workers()
    assert server.get('/sleep').status == 504
    server.wait_for_log(f'hook worker_abort {worker}')
    server.wait_for_log('killed by cserve: timeout')
    log = server.log()
    assert log.index('in application') < log.index('hook worker_abort') < log.index('killed by cserve: timeout')
    assert server.get('/').body == b'hello'


def test_a_worker_that_cannot_run_worker_abort_is_killed_all_the_same(cserve):
    server = start(cserve, 'def worker_abort(worker):\n    worker.log.error("hook worker_abort")\n', timeout='1')
    server.write_app(HANGS)
    server.start()
    assert server.get('/gil').status == 504
    server.wait_for_log('killed by cserve: timeout')
    assert 'hook worker_abort' not in server.log()
    assert server.get('/').body == b'hello'
