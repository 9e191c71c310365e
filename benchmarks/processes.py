"""A server as a tree of processes: started, asked for its CPU time and memory, stopped. Linux's /proc only."""
import os
import random
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import http1

HERE = Path(__file__).resolve().parent
APPS = HERE / 'apps'
TICK = os.sysconf('SC_CLK_TCK')


def stat_of(pid):
    """Parent, session, minor faults, CPU ticks; proc(5)."""
    text = Path('/proc/%d/stat' % pid).read_text()
    rest = text[text.rindex(')') + 2:].split()
    return dict(parent=int(rest[1]), session=int(rest[3]), faults=int(rest[7]), ticks=int(rest[11]) + int(rest[12]))


def tree(root):
    """The processes below root, or of its session: pid to stat_of()."""
    all_of_them = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                all_of_them[int(name)] = stat_of(int(name))
            except OSError:
                pass
    found = {pid for pid, s in all_of_them.items() if pid == root or s['session'] == root}
    while True:
        more = {pid for pid, s in all_of_them.items() if s['parent'] in found} - found
        if not more:
            return {pid: all_of_them[pid] for pid in found}
        found |= more


def cpu_seconds(root):
    """What the whole tree has used. The scheduler's own nanoseconds of each thread where the kernel shows them: ticks of 10 ms are coarse
    for a server that is mostly idle."""
    total = 0.0
    for pid, stat in tree(root).items():
        try:
            total += sum(int((task / 'schedstat').read_text().split()[0]) for task in Path('/proc/%d/task' % pid).iterdir()) / 1e9
        except (OSError, IndexError):
            total += stat['ticks'] / TICK
    return total


def memory_kb(root):
    """Resident and proportional set size, summed over the tree; proc(5), smaps_rollup."""
    sums = dict(Rss=0, Pss=0)
    pids = tree(root)
    for pid in pids:
        try:
            for line in Path('/proc/%d/smaps_rollup' % pid).read_text().splitlines():
                name = line.split(':')[0]
                if name in sums:
                    sums[name] += int(line.split()[1])
        except OSError:
            pass
    return dict(rss_kb=sums['Rss'], pss_kb=sums['Pss'], processes=len(pids))


class Server:
    """`label` names its results. It runs in a session of its own; with one worker on CPU 0 alone, so that the client has the other."""

    def __init__(self, label, spec, scenario, port, command=None, app=None, prefix=''):
        self.label, self.spec, self.port = label, spec, port
        self.folder = tempfile.TemporaryDirectory(prefix='bench-')
        os.chmod(self.folder.name, 0o777)  # Apache's children are another user
        self.log_path = Path(self.folder.name) / 'access.log'
        template = prefix + ' ' + (command or spec.command)
        self.argv = shlex.split(template.format(port=port, app=app or scenario.app, workers=scenario.workers, log=self.log_path,
                                                kernel=scenario.kernel, python=scenario.python))
        if scenario.workers == 1 and os.cpu_count() > 1 and not prefix:
            self.argv = ['taskset', '-c', '0', *self.argv]
        environment = {k: v for k, v in os.environ.items() if not k.startswith('CSERVE')}
        environment.update(spec.environment, PYTHONPATH=str(APPS), PYTHONDONTWRITEBYTECODE='1')
        self.errors_path = Path(self.folder.name) / 'errors.log'
        with open(self.errors_path, 'wb') as errors:
            self.started = time.perf_counter()
            self.process = subprocess.Popen(self.argv, env=environment, cwd=APPS, stdin=subprocess.DEVNULL, stdout=errors,
                                            stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def wait_until_ready(self, seconds=20):
        """The seconds from exec to the first whole answer; None if there is none."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and self.process.poll() is None:
            try:
                if http1.get(self.port, timeout=5).status not in (0, 503):
                    return time.perf_counter() - self.started
            except OSError:
                pass
            time.sleep(0.001)
        return None

    def cpu_seconds(self):
        return cpu_seconds(self.pid)

    def memory_kb(self):
        return memory_kb(self.pid)

    def complaint(self):
        return ' '.join(self.errors_path.read_text(errors='replace').split())[-300:]

    def stop(self):
        pids = tree(self.pid)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                pass
        for pid in pids:
            try:
                if stat_of(pid)['session'] in (self.pid, pid):
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()
        self.folder.cleanup()


def free_ports():
    """Ports below those that the kernel gives to clients. Each is claimed by an abstract unix socket, as the tests do it, so that what runs
    at the same time takes others; the claim goes with the process."""
    claims = []
    while True:
        port = random.randint(11000, 31999)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind('\0cserve-test-port-%d' % port)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(('127.0.0.1', port))
        except OSError:
            claim.close()
            continue
        claims.append(claim)
        yield port
