#!/usr/bin/env python3
"""The soak: one server under steady load, while everything that an operator, a deploy or fate can do to it is done to it, again and again.

    soak.py --minutes 30 [--binary build/cserve]

Each turn picks one: a good reload, a broken deploy, bad settings, kill -9 or -SEGV of a worker, -STOP and -CONT, one worker more or less, an upgrade in
place, a log rotation, a hung request, a template killed. At the end the books must balance:

- every request is answered, or lost within moments of a kill of ours, and never more of them than clients were there;
- no zombie, no process too many, no leaked descriptor, flat memory in the arbiter; a clean stop.

Prints the figures as JSON; exit status 0 if all is well."""
import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'e2e')]

from load import Load  # noqa: E402
from support import procfs, server as servers  # noqa: E402
from support.wait import until  # noqa: E402

CLIENTS = {'close': 2, 'keep': 6, 'post': 3, 'slow': 2, 'pipe': 2}
SLOW_SECONDS = 0.5
AFTERMATH = 4.0  # seconds behind a kill in which a loss may be its doing: timeout, and what a request takes
TIMEOUT = 3
STANDARD = (servers.APPS / 'standard.py').read_text(encoding='utf-8')


class Soak:
    def __init__(self, directory, binary, seed):
        self.random = random.Random(seed)
        self.server = servers.Server(directory, app=STANDARD, workers=4, binary=binary, settings={
            'preload_app': True, 'timeout': str(TIMEOUT), 'boot_timeout': '5', 'graceful_timeout': '10', 'errorlog': 'error.log',
            'accesslog': 'access.log', 'max_requests': '5000', 'max_requests_jitter': '1000', 'pidfile': 'cserve.pid'})
        self.kills = []
        self.done = {}
        self.version = 0
        self.wanted = 4

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
            self.kills.append(time.monotonic())
            self.server.signal(number, self.random.choice(pids))

    def kill_9(self):
        self.kill(signal.SIGKILL)

    def kill_segv(self):
        self.kill(signal.SIGSEGV)

    def stop_and_continue(self):
        pids = self.server.workers()
        if not pids:
            return
        pid = self.random.choice(pids)
        self.kills.append(time.monotonic())  # its requests are late; those beyond the timeout are cut
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
        if self.wanted > 2:
            self.wanted -= 1
            self.server.signal(signal.SIGTTOU)

    def upgrade(self):
        mark = self.server.log_mark()
        self.server.signal(signal.SIGUSR2)
        self.server.wait_for_log('takes over|upgrade failed|cannot upgrade', since=mark, deadline=30)
        self.server.wait_for_log('reloaded|reload failed|upgrade failed|cannot upgrade', since=mark, deadline=30)

    def rotate(self):
        for name in ('access.log',):  # the error log is what we read
            path = self.server.directory / name
            if path.exists():
                path.replace(path.with_suffix('.1'))
        self.server.signal(signal.SIGUSR1)

    def hang(self):
        self.kills.append(time.monotonic() + TIMEOUT)
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
                  self.one_more, self.one_less, self.upgrade, self.rotate, self.hang]
        self.server.start()
        load = Load(self.server.address, CLIENTS, slow_seconds=SLOW_SECONDS, pause=0.01, allowed=('answered',))
        load.thread.start()
        for event in events:  # once each, so that all there is to allocate is allocated
            self.do(event)
        first = self.measure()
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            self.do(self.random.choice(events))
            time.sleep(self.random.uniform(0, 0.5))
        last = self.measure()
        load.finish()
        return self.judge(load, first, last)

    def do(self, event):
        event()
        self.done[event.__name__] = self.done.get(event.__name__, 0) + 1

    def judge(self, load, first, last):
        faults = []
        orphans = [loss for loss in load.losses if not any(-0.5 < loss[0] - kill < AFTERMATH for kill in self.kills)]
        if orphans:
            faults.append(f'{len(orphans)} requests lost that no kill of ours explains: {orphans[:5]}')
        most = len(self.kills) * sum(4 * n if kind == 'pipe' else n for kind, n in CLIENTS.items())
        if sum(load.lost().values()) > most:
            faults.append('more requests lost than could be under way')
        if last['descriptors'] > first['descriptors'] + 2:
            faults.append(f"descriptors of the arbiter: {first['descriptors']}, then {last['descriptors']}")
        if last['memory'] > first['memory'] + (1 << 18):
            faults.append(f"memory of the arbiter: {first['memory']}, then {last['memory']}")
        zombies = [p for p in procfs.children(self.server.pid) if (procfs.stat(p) or 'xZ')[1] == 'Z']
        if zombies:
            faults.append(f'zombies: {zombies}')
        self.server.stop()
        return {'sent': load.sent, 'counts': dict(load.counts), 'reasons': load.reasons.most_common(10), 'events': self.done,
                'kills': len(self.kills), 'arbiter at first': first, 'arbiter at last': last, 'faults': faults}


def soak(minutes, binary=None, seed=None):
    servers.become_subreaper()
    with tempfile.TemporaryDirectory(prefix='cserve-soak-') as directory:
        run = Soak(directory, binary, seed)
        try:
            return run.run(minutes)
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
