"""From 'module:callable' to an application, and the python that it runs on."""
import os
import subprocess
import sys
import sysconfig

import pytest

pytestmark = pytest.mark.core

APP = '''
import os
import sys


class Answer:
    def __init__(self, *arguments, **keywords):
        self.text = repr((arguments, keywords))

    def __call__(self, environ, start_response):
        start_response('200 OK', [])
        return [self.text.encode()]


def application(environ, start_response):
    start_response('200 OK', [])
    return ['\\n'.join([os.environ.get('GREETING', ''), sys.executable, sys.prefix, os.getcwd(), '|'.join(sys.path), '|'.join(sys.argv),
                      str(sys.flags.optimize), str(sys.warnoptions)]).encode()]


def make(*arguments, **keywords):
    return Answer(*arguments, **keywords)


class space:
    inner = Answer('inner')
    make = staticmethod(make)


def bad_factory():
    raise ValueError('the factory fails')


def wrong_factory():
    return 7


number = 7
'''


@pytest.mark.parametrize('spec, answer', [
    ('app:make()', '((), {})'),
    ('app:make(1, "two", [3], x={"y": None}, z=-1.5)', "((1, 'two', [3]), {'x': {'y': None}, 'z': -1.5})"),
    ('app:make("a:b(c)")', "(('a:b(c)',), {})"),
    ('app:space.inner', "(('inner',), {})"),
    ('app:space.make(1)', '((1,), {})'),
])
def test_spellings(cserve, spec, answer):
    assert cserve(app=APP, wsgi_app=spec).get().text == answer


def test_module_alone_is_its_application(cserve):
    server = cserve(app=APP, wsgi_app='app')
    assert server.get().status == 200


def test_package(cserve):
    server = cserve(app='', wsgi_app='pack.inner:application', start=False)
    (server.app_directory / 'pack').mkdir()
    (server.app_directory / 'pack' / '__init__.py').write_text('')
    (server.app_directory / 'pack' / 'inner.py').write_text(APP)
    assert server.start().get().status == 200


@pytest.mark.parametrize('spec, words, has_traceback', [
    ('nosuch:application', ["cannot import the application 'nosuch:application'", "No module named 'nosuch'", 'chdir'], False),
    ('app.sub:application', ["No module named 'app.sub'"], False),
    ('app:aplication', ["module 'app' has no 'aplication'", "did you mean 'application'?"], False),
    ('app:xyzzy', ["module 'app' has no 'xyzzy'"], False),
    ('app:space.iner', ["has no 'iner'", "'inner'"], False),
    ('app:number', ['of type int, which cannot be called'], False),
    ('app:wrong_factory()', ['of type int, which cannot be called', 'the factory must return'], False),
    ('app:bad_factory()', ['its factory failed', 'ValueError: the factory fails'], True),
    ('app:make(', ['is not the call of a factory with literal arguments'], False),
    ('app:make(__import__("os"))', ['is not the call of a factory with literal arguments'], False),
    ('app:make(number)', ['is not the call of a factory with literal arguments'], False),
    ('app:make()()', ['is not the call of a factory with literal arguments'], False),
    ('app:make() + 1', ['is not the call of a factory with literal arguments'], False),
    ('app:make(1, 2, *[3])', ['is not the call of a factory with literal arguments'], False),
])
def test_what_cannot_be_loaded(cserve, spec, words, has_traceback):
    server = cserve(app=APP, wsgi_app=spec, start=False)
    assert server.run_to_end() == 4
    log = server.log()
    assert all(w in log for w in words), log
    assert ('Traceback' in log) == has_traceback
    server.assert_nothing_left()


@pytest.mark.parametrize('text, words', [
    ('import nosuchthing', "ModuleNotFoundError: No module named 'nosuchthing'"),
    ('1 / 0', 'ZeroDivisionError'),
    ('def f(:', 'SyntaxError'),
    ('raise SystemExit(0)', 'SystemExit'),
    ('raise KeyboardInterrupt', 'KeyboardInterrupt'),
])
def test_code_that_fails_at_import(cserve, text, words):
    server = cserve(app=text, start=False)
    assert server.run_to_end() == 4
    log = server.log()
    assert "cannot import the application 'app:application': its code failed" in log and words in log
    assert log.count('its code failed') == 1


def fields_of(server):
    names = ['greeting', 'executable', 'prefix', 'cwd', 'path', 'argv', 'optimize', 'warnings']
    fields = dict(zip(names, server.get().text.split('\n')))
    fields['path'] = fields['path'].split('|')
    return fields


def test_the_python_that_it_looks_like(cserve, tmp_path):
    extra = tmp_path / 'extra'
    extra.mkdir()
    server = cserve(app=APP, settings={'raw_env': 'GREETING=hello', 'pythonpath': str(extra), 'python_optimize': '1', 'warnings': 'error::SyntaxWarning'})
    fields = fields_of(server)
    assert fields['greeting'] == 'hello'
    assert fields['cwd'] == str(server.app_directory)
    assert fields['path'][:2] == [str(server.app_directory), str(extra)]
    assert fields['argv'] == 'cserve'
    assert fields['optimize'] == '1' and 'error::SyntaxWarning' in fields['warnings']
    assert os.access(fields['executable'], os.X_OK)
    seen = subprocess.run([fields['executable'], '-c', 'import sys; print(sys.prefix)'], capture_output=True, text=True).stdout.strip()
    assert fields['prefix'] == seen


def embedded_python(cserve):
    server = cserve(app=APP)
    executable = fields_of(server)['executable']
    server.stop()
    return executable


def test_virtual_environment(cserve, tmp_path):
    python = embedded_python(cserve)
    venv = tmp_path / 'venv'
    subprocess.run([python, '-m', 'venv', '--without-pip', str(venv)], check=True)
    site = subprocess.run([venv / 'bin' / 'python', '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], capture_output=True, text=True,
                          check=True).stdout.strip()
    with open(os.path.join(site, 'only_here.py'), 'w') as f:
        f.write('ANSWER = 42\n')
    for setting in ({'settings': {'virtualenv': str(venv)}}, {'env': {'VIRTUAL_ENV': str(venv)}}):
        server = cserve(app='import only_here\n' + APP, **setting)
        fields = fields_of(server)
        assert fields['executable'] == str(venv / 'bin' / 'python')
        assert fields['prefix'] == str(venv)
        assert site in fields['path']


def test_virtual_environment_of_another_version(cserve, tmp_path):
    venv = tmp_path / 'venv'
    (venv / 'bin').mkdir(parents=True)
    (venv / 'bin' / 'python').symlink_to(sys.executable)
    (venv / 'pyvenv.cfg').write_text('home = /usr/bin\nversion = 3.1.4\n')
    server = cserve(app=APP, settings={'virtualenv': str(venv)}, start=False)
    assert server.run_to_end() == 3
    assert f"the virtual environment '{venv}' is of Python 3.1.4, but this cserve embeds Python 3." in server.log()


def test_a_directory_that_is_no_virtual_environment(cserve, tmp_path):
    server = cserve(app=APP, settings={'virtualenv': str(tmp_path)}, start=False)
    assert server.run_to_end() == 3
    assert 'pyvenv.cfg' in server.log()


def test_extension_modules_and_sysconfig_work(cserve):
    server = cserve(app='''
import ctypes, json, sqlite3, ssl, sysconfig, zlib, asyncio, decimal, multiprocessing
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(sysconfig.get_path('stdlib')).encode()]
''')
    assert os.path.isdir(server.get().text)
    assert sysconfig.get_path('stdlib')


def test_cserve_can_be_imported(cserve):
    server = cserve(app='''
import cserve
def application(environ, start_response):
    start_response('200 OK', [])
    return [f'{cserve.__version__} {cserve.RequestTimeout.__mro__[1].__name__}'.encode()]
''')
    assert server.get().text.split()[1] == 'BaseException'


def test_threads_and_atexit_at_the_end(cserve):
    server = cserve(app='''
import atexit, sys, threading
atexit.register(lambda: print('atexit ran', file=sys.stderr, flush=True))
stop = threading.Event()
def run():
    threading.main_thread().join()
    print('thread ended', file=sys.stderr, flush=True)
threading.Thread(target=run).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
''')
    server.get()
    server.stop()
    assert 'atexit ran' in server.log() and 'thread ended' in server.log()


def test_a_thread_that_never_ends_does_not_hold_the_worker(cserve):
    server = cserve(app='''
import threading
threading.Thread(target=threading.Event().wait).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
''', settings={'graceful_timeout': '1'})
    server.get()
    server.stop()


def test_background_threads_run_while_the_worker_waits(cserve):
    server = cserve(app='''
import threading, time
COUNT = 0
def run():
    global COUNT
    while True:
        COUNT += 1
        time.sleep(0.001)
threading.Thread(target=run, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(COUNT).encode()]
''')
    from support.wait import until
    first = int(server.get().text)
    until(lambda: int(server.get().text) > first + 20, 'a background thread that runs')
