"""Fixtures of the end-to-end tests: the real binary, seen from outside.

    def test_it(cserve):
        server = cserve(app='def application(environ, start_response): ...', workers=2, settings={'timeout': '1'})
        assert server.get('/').status == 200
        server.stop()

cserve(...) writes the application and an ini file to the test's directory, starts the binary on a free port and waits until all
workers are ready. Arguments:
    app       text of the module `app` (callable `application`); without it tests/e2e/apps/standard.py serves
    wsgi_app  what to serve, if not app:application; '' leaves the setting out
    workers   number of workers (1)
    bind      'tcp', 'tcp6', 'unix', 'abstract', a value for the setting, or None for none
    settings  a dict for the ini file: values as text, lists repeat the key, None takes a default of the fixture away
    ini       the whole text of the ini file instead
    args      more command line; env: more environment (None removes); prefix: a command in front of the binary
    wait      False: return at once; start=False: do not even start
CSERVE names another binary; CSERVE_TEST_SLOW stretches every deadline by a factor (sanitizers, valgrind)."""
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / 'load')]

from support import server as servers  # noqa: E402
from support.server import Background, Server  # noqa: E402


def pytest_configure(config):
    servers.become_subreaper()


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker('root'):
                item.add_marker(pytest.mark.skip(reason='needs root'))


def _factory(base):
    made = []

    def make(*, wait=True, start=True, **options):
        directory = options.pop('directory', None) or base / f'server{len(made)}'
        server = Server(directory, **options)
        made.append(server)
        if start:
            server.start(wait)
        return server

    return make, made


def _close_all(made):
    problems = []
    for server in reversed(made):
        try:
            server.close()
        except AssertionError as e:
            problems.append(str(e))
    assert not problems, '\n\n'.join(problems)


@contextlib.contextmanager
def _open_directory():
    """Unlike tmp_path one that other users may enter, for workers that change to one."""
    path = Path(tempfile.mkdtemp(prefix='cserve-test-'))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def cserve():
    with _open_directory() as base:
        make, made = _factory(base)
        yield make
        _close_all(made)


@pytest.fixture(scope='module')
def module_cserve():
    """The same for a whole module: for tests that only send requests."""
    with _open_directory() as base:
        make, made = _factory(base)
        yield make
        _close_all(made)


@pytest.fixture(scope='session')
def sanitized():
    """Is the binary a sanitizer build? Then memory and speed say nothing."""
    return servers.is_sanitized()


@pytest.fixture
def background():
    """background(function): runs function(stop_event) in a thread, as a context."""
    return Background


@pytest.fixture
def need():
    """need('nginx'): its path, or the test is skipped."""
    def find(name):
        path = shutil.which(name)
        if not path:
            pytest.skip(f'{name} is not installed')
        return path
    return find
