#!/usr/bin/env python3
"""The soak: one server under steady load, while everything that an operator, a deploy or fate can do to it is done to it, again and again.

    soak.py --minutes 30 [--binary build/cserve]

Each turn picks one: a good reload, a broken deploy, bad settings, kill -9 or -SEGV of a worker, -STOP and -CONT, one worker more or less, an upgrade in
place, one to a broken binary, a log rotation, a hung request, a template killed; some clients die all the time. At the end the books must balance:

- requests sent = answered + those whose client died + those that were lost when a worker died, and never more of these than its clients had under way;
- the log has a death for each worker that we killed, with its cause, and none that was not our doing;
- no zombie, no process too many, no leaked descriptor, flat memory in the arbiter; a clean stop.

Prints a line a minute, and the figures at the end as JSON; exit status 0 if all is well."""
import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'e2e')]

from load import Load  # noqa: E402
from support import procfs, server as servers  # noqa: E402
from support.wait import until  # noqa: E402

CLIENTS = {'close': 2, 'keep': 6, 'post': 3, 'slow': 2, 'pipe': 2, 'quit': 1}
SLOW_SECONDS = 0.2
AFTERMATH = 2.0  # seconds between the log's line of a death and the losses that it explains: a busy machine's hesitation
TIMEOUT = 3
BROKEN_BINARIES = [b'#!/bin/sh\nexit 1\n', b'no program at all', b'']
DEATH = re.compile(r'^\[([^]]+)\] \[master \d+\] \[\w+\] worker \d+ \(pid (\d+)\) (killed by (?:cserve: [^;\n]*?|SIG\w+|the kernel for memory))'
                   r'(?:, core dumped)?(?: before it was ready)?(?: while in the application: [^\n]*?)?(?:; starting[^\n]*)?$', re.M)
STANDARD = (servers.APPS / 'standard.py').read_text(encoding='utf-8')


class Soak:
    def __init__(self, directory, binary, seed):
        self.random = random.Random(seed)
        Path(directory).mkdir(exist_ok=True)
        self.original, self.binary = binary or servers.BINARY, Path(directory) / 'cserve'
        self.install(Path(self.original).read_bytes())
        self.server = servers.Server(directory, app=STANDARD, workers=4, binary=str(self.binary), settings={
            'preload_app': True, 'timeout': str(TIMEOUT), 'boot_timeout': '5', 'graceful_timeout': '10', 'errorlog': 'error.log',
            'accesslog': 'access.log', 'max_requests': '5000', 'max_requests_jitter': '1000', 'pidfile': 'cserve.pid'})
        self.killed = {}      # pid of a worker: the signal that we sent
        self.hangs = 0
        self.done = {}
        self.version = 0
        self.wanted = 4

    def install(self, program):
        """As a package manager does: a new file under the old name."""
        fresh = self.binary.with_suffix('.new')
        fresh.write_bytes(program)
        fresh.chmod(0o755)
        fresh.replace(self.binary)

    # ---- what happens ----

    def reload(self, how):
        mark = self.server.log_mark()
        self.server.signal(signal.SIGHUP)
        self.server.wait_for_log(how, since=mark, deadline=30)

    def good_reload(self):
        self.version += 1
        self.server.write_app(STANDARD + f'\nVERSION = {self.version}\n')
        self.reload('reloaded')

    def broken_deploy(self):
        self.server.write_app(self.random.choice(['def application(:\n', 'import nowhere\n', '1 / 0\n', 'import os\nos._exit(3)\n', 'x = 1\n']))
        self.reload('reload failed')
        self.server.write_app(STANDARD)

    def bad_settings(self):
        good = self.server.ini_path.read_text()
        self.server.ini_path.write_text(good + 'nonsense = 1\n')
        self.reload('reload failed')
        self.server.ini_path.write_text(good)

    def kill(self, number):
        pids = self.server.workers()
        if pids:
            pid = self.random.choice(pids)
            self.killed.setdefault(pid, number)  # the first one is the cause
            try:
                self.server.signal(number, pid)
            except ProcessLookupError:
                del self.killed[pid]

    def kill_9(self):
        self.kill(signal.SIGKILL)

    def kill_segv(self):
        self.kill(signal.SIGSEGV)

    def stop_and_continue(self):
        pids = self.server.workers()
        if not pids:
            return
        pid = self.random.choice(pids)
        try:
            self.server.signal(signal.SIGSTOP, pid)
            time.sleep(self.random.uniform(0.1, 1.5))
            self.server.signal(signal.SIGCONT, pid)
        except ProcessLookupError:
            pass

    def kill_template(self):
        pid = self.server.template()
        if pid:
            self.server.signal(signal.SIGKILL, pid)
            until(lambda: self.server.template() not in (None, pid), 'another template', 30)

    def one_more(self):
        if self.wanted < 6:
            self.wanted += 1
            self.server.signal(signal.SIGTTIN)

    def one_less(self):
        if self.wanted > 3:  # those that sleep, hang and are stopped must leave somebody to answer the others
            self.wanted -= 1
            self.server.signal(signal.SIGTTOU)

    def upgrade(self):
        mark = self.server.log_mark()
        self.server.signal(signal.SIGUSR2)
        self.server.wait_for_log('takes over|upgrade failed|cannot upgrade', since=mark, deadline=30)
        self.server.wait_for_log('reloaded|reload failed|upgrade failed|cannot upgrade', since=mark, deadline=30)

    def broken_upgrade(self):
        mark = self.server.log_mark()
        self.install(self.random.choice(BROKEN_BINARIES))
        self.server.signal(signal.SIGUSR2)
        self.server.wait_for_log('upgrade failed|cannot upgrade', since=mark, deadline=30)
        self.install(Path(self.original).read_bytes())

    def rotate(self):
        for name in ('access.log',):  # the error log is what we read
            path = self.server.directory / name
            if path.exists():
                path.replace(path.with_suffix('.1'))
        self.server.signal(signal.SIGUSR1)

    def hang(self):
        self.hangs += 1
        with self.server.connect(timeout=20) as c:
            c.send(b'GET /spin?s=60 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
            try:
                c.rest()
            except (OSError, AssertionError):
                pass

    # ---- the run ----

    def settle(self):
        """All workers there, nothing else, nothing draining."""
        def settled():
            children = procfs.children(self.server.pid)
            return len(self.server.workers()) == self.wanted and len(children) == self.wanted + 1
        until(settled, lambda: f'{self.wanted} workers and a template, there are {[procfs.title(p) for p in procfs.children(self.server.pid)]}', 60)

    def measure(self):
        self.settle()
        return {'descriptors': len(procfs.descriptors(self.server.pid)), 'memory': procfs.own_memory(self.server.pid)}

    def run(self, minutes):
        events = [self.good_reload, self.broken_deploy, self.bad_settings, self.kill_9, self.kill_segv, self.stop_and_continue, self.kill_template,
                  self.one_more, self.one_less, self.upgrade, self.broken_upgrade, self.rotate, self.hang]
        self.server.start()
        load = Load(self.server.address, CLIENTS, slow_seconds=SLOW_SECONDS, pause=0.01, allowed=('answered', 'abandoned'))
        load.thread.start()
        for event in events:  # once each, so that all there is to allocate is allocated
            self.do(event)
        first = self.measure()
        end = time.monotonic() + minutes * 60
        told = time.monotonic()
        while time.monotonic() < end:
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f'{self.measure()} {load}', file=sys.stderr, flush=True)
            self.do(self.random.choice(events))
            time.sleep(self.random.uniform(0, 0.5))
        last = self.measure()
        load.finish()
        return self.judge(load, first, last)

    def do(self, event):
        event()
        self.done[event.__name__] = self.done.get(event.__name__, 0) + 1

    def deaths(self):
        """(when, pid, cause) of each worker that did not just leave, as the log tells it; the time as of time.monotonic()."""
        offset = time.time() - time.monotonic()
        return [(datetime.strptime(when, '%Y-%m-%d %H:%M:%S.%f %z').timestamp() - offset, int(pid), cause)
                for when, pid, cause in DEATH.findall((self.server.directory / 'error.log').read_text(errors='replace'))]

    def check_deaths(self, deaths):
        """Every death that the log tells was our doing, and every kill of ours is told with its signal."""
        # Of a pid that came twice the first death, as of our kills.
        told, log = {pid: cause for _, pid, cause in reversed(deaths)}, self.server.log()
        timeouts = [pid for pid, cause in told.items() if cause == 'killed by cserve: timeout']
        for pid, number in self.killed.items():
            wanted = f'killed by {signal.Signals(number).name}'
            was_leaving = f'(pid {pid}) is gone' in log or f'(pid {pid}) exited with status 0' in log
            if told.get(pid) != wanted and not was_leaving and pid not in timeouts:
                yield f'worker {pid} was {wanted}, the log says {told.get(pid)}'
        if len(timeouts) > self.hangs:
            yield f'{len(timeouts)} workers killed for a timeout, but {self.hangs} requests hung'
        for pid, cause in told.items():
            is_ours = pid in self.killed or pid in timeouts or cause == 'killed by cserve: it is no longer wanted'
            if not is_ours:
                yield f'worker {pid} {cause}, which was not our doing'

    def judge(self, load, first, last):
        deaths = self.deaths()
        faults = list(self.check_deaths(deaths))
        orphans = [loss for loss in load.losses if not any(abs(loss[0] - when) < AFTERMATH for when, _, _ in deaths)]
        if orphans:
            faults.append(f'{len(orphans)} requests lost that no death of a worker explains: {orphans[:5]}')
        under_way = sum(4 * n if kind == 'pipe' else n for kind, n in CLIENTS.items())
        if sum(load.lost().values()) > len(deaths) * under_way:
            faults.append('more requests lost than could be under way')
        if last['descriptors'] > first['descriptors']:
            faults.append(f"descriptors of the arbiter: {first['descriptors']}, then {last['descriptors']}")
        if last['memory'] > first['memory'] + (1 << 18):
            faults.append(f"memory of the arbiter: {first['memory']}, then {last['memory']}")
        zombies = [p for p in procfs.children(self.server.pid) if (procfs.stat(p) or 'xZ')[1] == 'Z']
        if zombies:
            faults.append(f'zombies: {zombies}')
        self.server.stop()
        return {'sent': load.sent, 'counts': dict(load.counts), 'reasons': load.reasons.most_common(10), 'events': self.done,
                'kills': len(self.killed) + self.hangs, 'deaths': Counter(cause for _, _, cause in deaths), 'arbiter at first': first, 'arbiter at last': last, 'faults': faults}


def soak(minutes, binary=None, seed=None):
    servers.become_subreaper()
    sys.setswitchinterval(0.0002)  # the clients' thread must not wait for the one that looks at processes
    with tempfile.TemporaryDirectory(prefix='cserve-soak-') as directory:
        run = Soak(directory, binary, seed)
        try:
            result = run.run(minutes)
            if result['faults']:
                result['logs'] = tempfile.mkdtemp(prefix='cserve-soak-logs-')
                for log in Path(directory).glob('*.log'):
                    shutil.copy(log, result['logs'])
            return result
        except BaseException:
            print(run.server.output(), file=sys.stderr)
            raise
        finally:
            run.server.expect_sanitizer_report = True  # of the crashes that we make
            run.server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--binary', type=os.path.abspath)
    parser.add_argument('--seed', type=int, default=None)
    options = parser.parse_args()
    result = soak(options.minutes, options.binary, options.seed)
    print(json.dumps(result, indent=2))
    return 1 if result['faults'] else 0


if __name__ == '__main__':
    sys.exit(main())
