"""The gate behind `make bench-check`: what a request costs, against fixed bounds and against what it cost when it was last recorded.

expected.json holds a record for each interpreter, compiler, libc and valgrind it was made with; other ones give other figures. Where no
record fits, the bounds alone count, and that is said. `--update` records what is measured now."""
import argparse
import concurrent.futures
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import counts
import servers
from processes import free_ports
from scenarios import SCENARIOS

EXPECTED = Path(__file__).resolve().parent / 'expected.json'
REQUESTS = 1000
TOLERANCE = 0.03

# Instructions per request, user space, at most; and how much more it may be where nothing is recorded: half of a request is the
# interpreter's, and another one, or one built otherwise, takes more for the same (3.13 of pyenv 6,800 for hello).
INSTRUCTIONS = {'hello': 6000, 'browser': 18000, 'close': None, 'post': None}
UNRECORDED = 1.25
# System calls per request, at most: kept alive over one connection, kept alive under load, closing.
CALLS = {'hello': 3, 'browser': 3, 'close': 5}
CALLS_UNDER_LOAD = {'hello': 2}
ROUNDS_UNDER_LOAD = 50
# What fewer than one request in twenty makes is the arbiter's or made by the clock. A worker that was kept from its loop for some
# milliseconds, as happens below strace on a busy machine, asks of each new connection whether its client is still there.
SELDOM = 0.05
WHEN_LATE = ('getsockopt',)
# A request that strace makes slow wakes the courier, and a client that is late costs an epoll_wait more. That only ever adds calls: the
# least of some runs counts, and a tenth of a call is let pass. One call more for each request is still seen.
CALLS_RUNS = 4
CALLS_SLACK = 0.1
# Those that no kept-alive request makes. What one connection takes is shared by all of its requests.
FORBIDDEN = ('epoll_ctl', 'fcntl', 'setsockopt', 'mmap', 'munmap', 'brk', 'madvise', 'mremap')
FORBIDDEN_MAX = 0.01
MALLOCS_MAX = 0.01
FAULTS_MAX = 0.01
KEPT_ALIVE = ('hello', 'browser')


def environment(compiler, python_version):
    libc = ' '.join(platform.libc_ver())
    cc = subprocess.run([*compiler.split(), '-dumpfullversion', '-dumpversion'], capture_output=True, text=True).stdout.strip()
    valgrind = subprocess.run(['valgrind', '--version'], capture_output=True, text=True).stdout.strip()
    return '%s, Python %s, %s %s, %s, %s' % (platform.machine(), python_version, compiler, cc, libc, valgrind)


class Gate:
    """Collects what was measured, and prints a line for each figure with what it was held against."""

    def __init__(self, record, is_update=False):
        self.record, self.is_update, self.measured, self.passed, self.failed = record, is_update, {}, 0, 0

    def hold(self, name, value, bound=None, slack=0, is_recorded=False, digits=0):
        if is_recorded:
            self.measured[name] = round(value)
        recorded = self.record.get(name) if is_recorded else None
        faults, notes = [], []
        if bound is not None:
            notes.append('bound %g' % bound)
            if value > bound + slack:
                faults.append('over the bound')
        if recorded:
            notes.append('recorded %d, %+.1f %%' % (recorded, (value / recorded - 1) * 100))
            if value > recorded * (1 + TOLERANCE) and not self.is_update:
                faults.append('%.0f %% more than recorded' % ((value / recorded - 1) * 100))
            elif value < recorded * (1 - TOLERANCE) and not self.is_update:
                notes.append('less than recorded: `make bench-check UPDATE=1` keeps it')
        print('  %-44s %10.*f  %-6s (%s)' % (name, digits, value, 'FAILED' if faults else 'ok', '; '.join(faults + notes) or 'no bound'))
        self.failed += bool(faults)
        self.passed += not faults


def calls_in_all(name, calls):
    left_out = WHEN_LATE if SCENARIOS[name].closes else ()
    return sum(n for call, n in calls.items() if n >= SELDOM and call not in left_out)


def least_calls(name, bound, count):
    """The calls of the run with the fewest; no further run once they are within the bound."""
    best = None
    for _ in range(CALLS_RUNS):
        best = min(filter(None, (best, count())), key=lambda calls: calls_in_all(name, calls))
        if calls_in_all(name, best) <= bound + CALLS_SLACK:
            break
    return best


def gather(spec, ports):
    """All counts: those under valgrind two at a time, for they depend on nobody; then one by one those that time could change."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        work = {('instructions', name): pool.submit(counts.instructions, spec, SCENARIOS[name], next(ports), REQUESTS)
                for name in INSTRUCTIONS}
        found = {key: future.result() for key, future in work.items()}
    for name, bound in CALLS.items():
        found['calls', name] = least_calls(name, bound, lambda: counts.system_calls(spec, SCENARIOS[name], ports, REQUESTS * 2))
    for name, bound in CALLS_UNDER_LOAD.items():
        found['load', name] = least_calls(name, bound, lambda: counts.system_calls_under_load(spec, SCENARIOS[name], ports,
                                                                                              ROUNDS_UNDER_LOAD))
    for name in KEPT_ALIVE:
        found['faults', name] = counts.page_faults(spec, SCENARIOS[name], next(ports), REQUESTS * 4)
    return found


def judge(found, gate):
    for name, bound in INSTRUCTIONS.items():
        if bound and not gate.record:
            bound *= UNRECORDED
        gate.hold('instructions, ' + name, found['instructions', name]['instructions'], bound, is_recorded=True)
    for name in KEPT_ALIVE:
        own = sum(n for (caller, _), n in found['instructions', name]['mallocs'].items() if not counts.is_python(caller))
        gate.hold('mallocs of our own, ' + name, own, MALLOCS_MAX, digits=2)
        gate.hold('page faults, ' + name, found['faults', name], FAULTS_MAX, digits=2)
        forbidden = {call: n for call, n in found['calls', name].items() if call in FORBIDDEN}
        gate.hold('calls of %s, %s' % ('/'.join(forbidden) or 'epoll_ctl, mmap and the like', name), sum(forbidden.values()), FORBIDDEN_MAX,
                  digits=3)
    for name, bound in CALLS.items():
        gate.hold('system calls, ' + name, calls_in_all(name, found['calls', name]), bound, CALLS_SLACK, digits=2)
    for name, bound in CALLS_UNDER_LOAD.items():
        gate.hold('system calls under load, ' + name, calls_in_all(name, found['load', name]), bound, CALLS_SLACK, digits=2)


def explain(found):
    for (kind, name), value in found.items():
        if kind == 'instructions' and value['mallocs']:
            print('  mallocs of libc, %s: %s' % (name, ', '.join('%s for %s %.2f' % (*key, n) for key, n in value['mallocs'].items())))
        elif kind in ('calls', 'load'):
            print('  system calls%s, %s: %s' % (' under load' if kind == 'load' else '', name,
                                               ', '.join('%s %.2f' % item for item in value.items() if item[1] >= 0.005)))


def check(args, spec):
    key = environment(args.compiler, spec.version.partition('Python ')[2].split(',')[0])
    records = json.loads(args.expected.read_text()) if args.expected.exists() else {}
    gate = Gate(records.get(key, {}), args.update)
    print('per request, of a worker with everything on that a user has by default')
    if not args.update and key not in records:
        print('  nothing is recorded for %s: the bounds alone count' % key)
    try:
        found = gather(spec, free_ports())
    except counts.Failed as failure:
        sys.exit('bench-check: %s' % failure)
    judge(found, gate)
    explain(found)
    if args.update:
        records[key] = gate.measured
        args.expected.write_text(json.dumps(records, indent=2, sort_keys=True) + '\n')
        print('recorded for ' + key)
    print('%d passed, %d failed' % (gate.passed, gate.failed))
    sys.exit(gate.failed > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--binary', type=Path, required=True)
    parser.add_argument('--compiler', default='cc', help='what the binary was built with')
    parser.add_argument('--expected', type=Path, default=EXPECTED)
    parser.add_argument('--update', action='store_true')
    args = parser.parse_args()
    servers.require('valgrind', 'callgrind_control', 'strace', 'strip')
    with tempfile.TemporaryDirectory(prefix='bench-check-') as folder:
        # Names of functions are all that is wanted, and valgrind gives up where it does not understand a compiler's debugging information.
        binary = Path(folder) / args.binary.name
        subprocess.run(['strip', '--strip-debug', '-o', binary, args.binary], check=True)
        check(args, servers.cserve(binary)['cserve'])


if __name__ == '__main__':
    main()
