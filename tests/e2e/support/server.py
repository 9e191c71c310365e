"""Starts the real binary, watches it, and sees to it that nothing of it stays behind."""
import ctypes
import os
import re
import signal as signals
import subprocess
import threading
from pathlib import Path

import requests

from support import http, ports, procfs
from support.wait import DEADLINE, SLOW, DeadlinePassed, until

ROOT = Path(__file__).resolve().parents[3]
BINARY = os.environ.get('CSERVE') or str(ROOT / 'build' / 'cserve')
APPS = Path(__file__).resolve().parents[1] / 'apps'
SANITIZER_REPORT = re.compile(r'^.*(?:ERROR: (?:Address|Leak|Undefined\w*|Thread)Sanitizer|runtime error:|WARNING: ThreadSanitizer).*$', re.M)
PR_SET_CHILD_SUBREAPER = 36


def is_sanitized():
    with open(BINARY, 'rb') as f:
        data = f.read()
    return b'__asan_init' in data or b'__tsan_init' in data


def become_subreaper():
    """Processes that lose their parent become ours, so that daemons and orphans are found and reaped."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def ini_text(settings, env=None):
    lines = ['[cserve]']
    for key, value in settings.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            text = {True: 'true', False: 'false'}.get(item, item) if isinstance(item, bool) else item
            lines.append(f'{key} = {text}')
    if env:
        lines.append('[env]')
        lines += [f'{k} = {v}' for k, v in env.items()]
    return '\n'.join(lines) + '\n'


def sanitizer_environment(directory):
    """Sanitizer reports go to files of ours, whatever happens to the process's stderr."""
    found = {}
    for name, extra in (('ASAN_OPTIONS', 'detect_leaks=0:handle_abort=0:allocator_may_return_null=1'),
                        ('UBSAN_OPTIONS', 'print_stacktrace=1'), ('TSAN_OPTIONS', 'allocator_may_return_null=1:die_after_fork=0')):
        parts = [p for p in (extra, os.environ.get(name, ''), f'log_path={directory}/sanitizer') if p]
        found[name] = ':'.join(parts)
    return found


class Server:
    """One cserve. Made by the fixture `cserve`; see conftest.py for the arguments."""

    def __init__(self, directory, *, app=None, wsgi_app=None, workers=1, bind='tcp', settings=None, ini=None, args=(), env=None,
                 binary=None, prefix=(), pass_fds=(), cwd=None, preexec=None, start_new_session=True, stdin=subprocess.DEVNULL, stderr=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.log_path = self.directory / 'error.log'
        self.stdout_path = self.directory / 'stdout.log'
        self.ini_path = self.directory / 'conf.ini'
        self.app_directory = self.directory / 'app'
        self.app_directory.mkdir(exist_ok=True)
        self.workers_wanted = workers
        self.port = None
        self.address = None
        self.url = None
        self.process = None
        self.daemon_pid = None
        self.sessions = set()
        self.known = set()
        self.marks = 0
        self.expect_sanitizer_report = False
        if app is not None:
            self.write_app(app)
        self.settings = {}
        if wsgi_app is None:
            wsgi_app = 'app:application' if app is not None else 'standard:application'
        if wsgi_app:
            self.settings['wsgi_app'] = wsgi_app
        self.settings['chdir'] = str(self.app_directory if app is not None else APPS)
        if workers is not None:
            self.settings['workers'] = workers
        self._choose_address(bind)
        self.settings.update(settings or {})
        self.settings = {k: v for k, v in self.settings.items() if v is not None}
        self.ini_env = None
        self.ini_override = ini
        self.args = [str(a) for a in args]
        self.binary = binary or BINARY
        self.prefix = list(prefix)
        self.pass_fds = pass_fds
        self.cwd = str(cwd or self.directory)
        self.preexec = preexec
        self.start_new_session = start_new_session
        self.stdin = stdin
        self.stderr = stderr
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith(('CSERVE_', 'LISTEN_', 'PYTEST_', 'PYTHON', 'VIRTUAL_ENV', 'NOTIFY_', 'WATCHDOG_'))
                            and k not in ('PORT', 'WEB_CONCURRENCY', 'FORWARDED_ALLOW_IPS')}
        self.environment['PYTHONDONTWRITEBYTECODE'] = '1'
        self.environment.update(sanitizer_environment(self.directory))
        for key, value in (env or {}).items():
            if value is None:
                self.environment.pop(key, None)
            else:
                self.environment[key] = str(value)

    def _choose_address(self, bind):
        if bind == 'tcp':
            self.port = ports.reserve()
            self.address = ('127.0.0.1', self.port)
            self.settings['bind'] = f'127.0.0.1:{self.port}'
            self.url = f'http://127.0.0.1:{self.port}'
        elif bind == 'tcp6':
            self.port = ports.reserve()
            self.address = ('::1', self.port)
            self.settings['bind'] = f'[::1]:{self.port}'
            self.url = f'http://[::1]:{self.port}'
        elif bind == 'unix':
            self.address = str(self.directory / 's')
            self.settings['bind'] = f'unix:{self.address}'
        elif bind == 'abstract':
            self.address = f'@cserve-test-{os.getpid()}-{id(self)}'
            self.settings['bind'] = f'unix:{self.address}'
        elif bind is not None:
            self.settings['bind'] = bind

    # ---- files ----

    def write_app(self, text, name='app.py'):
        path = self.app_directory / name
        temporary = path.with_suffix('.new')
        temporary.write_text(text)
        temporary.replace(path)  # never a half-written module for a reload to find
        return path

    def write_ini(self, **changes):
        self.settings.update(changes)
        self.settings = {k: v for k, v in self.settings.items() if v is not None}
        text = self.ini_override if self.ini_override is not None else ini_text(self.settings, self.ini_env)
        self.ini_path.write_text(text)

    # ---- life ----

    def command(self):
        return [*self.prefix, self.binary, '-c', str(self.ini_path), *self.args]

    def start(self, wait=True):
        if not self.ini_path.exists() or self.process is None:
            self.write_ini()
        with open(self.log_path, 'ab') as log, open(self.stdout_path, 'ab') as out:
            self.process = subprocess.Popen(self.command(), stdin=self.stdin, stdout=out, stderr=self.stderr or log, env=self.environment,
                                            cwd=self.cwd, start_new_session=self.start_new_session, pass_fds=self.pass_fds,
                                            preexec_fn=self.preexec)
        if self.start_new_session:
            self.sessions.add(self.process.pid)
        if wait:
            self.wait_ready()
        return self

    @property
    def pid(self):
        """The arbiter's."""
        return self.daemon_pid or self.process.pid

    def adopt_daemon(self, pid):
        """The command has gone to the background: this is its arbiter."""
        self.daemon_pid = pid
        self.sessions.add(procfs.session(pid))

    def is_running(self):
        return procfs.is_alive(self.pid)

    def wait_ready(self, workers=None, since=0, deadline=None):
        """Until so many workers have said that they are ready (all that were asked for)."""
        count = workers if workers is not None else (self.workers_wanted or 1)

        def ready():
            if self.daemon_pid is None and self.process.poll() is not None:
                raise AssertionError(f'the server ended with status {self.process.returncode} before it was ready:\n{self.output()}')
            return len(set(re.findall(r'worker \d+ \(pid (\d+)\) is ready', self.log(since)))) >= count

        until(ready, lambda: f'{count} ready workers in\n{self.output()}', deadline or 2 * DEADLINE)
        self.known.update(self.all_pids())
        return self

    def signal(self, number, pid=None):
        os.kill(pid or self.pid, number)

    def wait_exit(self, deadline=None):
        """The exit status, 128 + n for signal n as a shell says it."""
        if self.daemon_pid:
            until(lambda: not procfs.is_alive(self.daemon_pid), 'the end of the daemon', deadline or 2 * DEADLINE)
            return 0
        try:
            status = self.process.wait(deadline or 2 * DEADLINE)
        except subprocess.TimeoutExpired:
            raise DeadlinePassed(f'the server did not end:\n{self.output()}') from None
        return status if status >= 0 else 128 - status

    def stop(self, number=signals.SIGTERM, status=0, deadline=None):
        """Asks the server to stop and checks how it ends."""
        self.known.update(self.all_pids())
        self.signal(number)
        got = self.wait_exit(deadline)
        assert got == status, f'exit status {got}, not {status}:\n{self.output()}'
        self.assert_nothing_left()

    def run_to_end(self, deadline=None):
        """For starts that fail: the exit status."""
        self.start(wait=False)
        return self.wait_exit(deadline)

    # ---- what is seen ----

    def log(self, since=0):
        try:
            with open(self.log_path, 'rb') as f:
                f.seek(since)
                return f.read().decode('utf-8', 'replace')
        except FileNotFoundError:
            return ''

    def log_mark(self):
        """For `since`: what comes from now on."""
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def stdout(self):
        return self.stdout_path.read_text(errors='replace') if self.stdout_path.exists() else ''

    def output(self):
        return self.log()[-20000:] + ('\n--- stdout ---\n' + self.stdout()[-4000:] if self.stdout() else '')

    def wait_for_log(self, pattern, deadline=None, since=0, flags=0):
        """The first match of the regular expression in the log."""
        regex = re.compile(pattern, flags)
        return until(lambda: regex.search(self.log(since)), lambda: f'{pattern!r} in the log:\n{self.log(since)[-20000:]}',
                     deadline or DEADLINE)

    def log_lines(self, since=0, level=None):
        """(process, pid, level, message) of each line that has a header."""
        found = re.findall(r'^\[\d[^]]*\] \[([^]]*?) (\d+)\] \[(\w+)\] (.*)$', self.log(since), re.M)
        return [(p, int(n), lv, m) for p, n, lv, m in found if level is None or lv == level]

    def all_pids(self):
        """Every live process of this server."""
        return sorted(set(procfs.of_sessions(self.sessions)) | {p for p in self.known if procfs.is_alive(p)})

    def workers(self):
        """Pids of the workers, those that retire included, by seat."""
        found = []
        for pid in procfs.children(self.pid):
            match = re.match(r'cserve: worker (\d+)', procfs.title(pid))
            if match:
                found.append((int(match.group(1)), pid))
        return [pid for _, pid in sorted(found)]

    def template(self):
        found = [p for p in procfs.children(self.pid) if procfs.title(p).startswith('cserve: template')]
        return found[0] if found else None

    def wait_workers(self, count, deadline=None, without=()):
        def settled():
            pids = self.workers()
            return pids if len(pids) == count and not set(pids) & set(without) else None
        return until(settled, lambda: f'{count} workers other than {without}, there are {self.workers()}:\n{self.output()}',
                     deadline or DEADLINE)

    # ---- requests ----

    def connect(self, **options):
        return http.Connection(self.address, **options)

    def begin(self, path, *fields, **options):
        """A connection whose request is in the application by now (in apps/standard.py)."""
        self.marks += 1
        mark = self.directory / f'mark-{self.marks}'
        connection = self.connect(**options)
        connection.send(http.request(path, f'X-Mark: {mark}', *fields))
        until(mark.exists, lambda: f'{path} to reach the application:\n{self.output()}')
        return connection

    def raw(self, data, method='GET'):
        """Sends bytes on a new connection; the final response."""
        with self.connect() as c:
            c.send(data)
            return c.final(method)

    def get(self, path='/', *fields, method='GET', body=None):
        """A request of its own, on a connection of its own."""
        return self.raw(http.request(path, 'Connection: close', *fields, method=method, body=body), method)

    def request(self, method, path='/', **options):
        """Through requests."""
        options.setdefault('timeout', 30 * SLOW)
        return requests.request(method, self.url + path, **options)

    def session(self):
        return requests.Session()

    # ---- the end ----

    def assert_nothing_left(self):
        until(lambda: not self.all_pids(), lambda: f'processes left behind: {[(p, procfs.title(p)) for p in self.all_pids()]}\n{self.output()}',
              5 * SLOW)

    def sanitizer_reports(self):
        found = [m.group(0) for m in SANITIZER_REPORT.finditer(self.log() + self.stdout())]
        for path in self.directory.glob('sanitizer.*'):
            text = re.sub(r'^==\d+==WARNING: \w+ failed to allocate.*\n', '', path.read_text(errors='replace'), flags=re.M)
            if text.strip():
                found.append(text[:6000])
        return found

    def close(self):
        """Ends everything that this server started, then says what should not have been."""
        problems = []
        if self.process:
            self.known.update(self.all_pids())
            try:
                if self.process.poll() is None or (self.daemon_pid and procfs.is_alive(self.daemon_pid)):
                    self.signal(signals.SIGTERM)
                    try:
                        self.wait_exit(10 * SLOW)
                    except DeadlinePassed:
                        problems.append('the server did not end within 10 s of SIGTERM')
                        self.signal(signals.SIGKILL)
                        self.wait_exit(5 * SLOW)
            except ProcessLookupError:
                pass
            try:
                self.assert_nothing_left()
            except DeadlinePassed as e:
                problems.append(str(e))
                for pid in self.all_pids():
                    try:
                        os.kill(pid, signals.SIGKILL)
                    except ProcessLookupError:
                        pass
        if self.port:
            ports.release(self.port)
        if not self.expect_sanitizer_report:
            problems += self.sanitizer_reports()
        assert not problems, '\n'.join(problems) + '\n' + self.output()


class Background:
    """Calls function(stop_event) in a thread; leaving the context waits for it and hands on what it raised."""

    def __init__(self, function):
        self.stop = threading.Event()
        self.result = None
        self.error = None
        self.function = function
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self.result = self.function(self.stop)
        except BaseException as e:  # handed on by join()
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def join(self, deadline=60 * SLOW):
        self.stop.set()
        self.thread.join(deadline)
        assert not self.thread.is_alive(), 'a thread of the test did not end'
        if self.error:
            raise self.error
        return self.result

    def __exit__(self, kind, *_):
        if kind is None:
            self.join()
        else:
            self.stop.set()
            self.thread.join(5)
