"""What one request costs in figures that no neighbour changes: instructions, libc's mallocs, system calls, page faults.

Instructions and mallocs by valgrind's callgrind, which runs the server on a CPU of its own making: they repeat within some tenths of a
percent. System calls by strace, as the difference of two runs, so that the start cancels out and no right to attach to a process is
needed. Page faults by the kernel's own count, of the server as it is.

Both tools make a server some 50 times slower. What it does by the clock is slowed with it (`slowed`), or the courier would come to the
help of requests that are only slow because they are looked at."""
import collections
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import http1
from processes import Server, stat_of, tree
from scenarios import raw_request

MALLOCS = ('malloc', 'calloc', 'realloc', 'posix_memalign', 'aligned_alloc', 'memalign')
BATCH = 200


class Failed(Exception):
    pass


def started(spec, scenario, port, prefix='', seconds=20):
    server = Server('counted', spec, scenario, port, prefix=prefix)
    if server.wait_until_ready(seconds) is None:
        complaint = server.complaint()
        server.stop()
        raise Failed('it did not start: ' + complaint)
    return server


def children(server):
    """The workers: processes without children of their own. Their parents only supervise."""
    found = tree(server.pid)
    parents = {s['parent'] for s in found.values()}
    return sorted(set(found) - parents)


def slowed(spec):
    """And with dicts that are laid out the same way each time."""
    return replace(spec, command=spec.command + ' --handover-delay 100ms', environment={**spec.environment, 'PYTHONHASHSEED': '0'})


def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed('waited in vain for ' + what)
        time.sleep(0.005)


def state_of(pid):
    """One letter, proc(5)."""
    text = Path('/proc/%d/stat' % pid).read_text()
    return text[text.rindex(')') + 2]


def send(server, scenario, n):
    """n requests. Those that close go out while the worker is stopped, 200 at a time: a client that is late would cost it calls that say
    nothing of the server. It is stopped when it waits: one that is kept from its loop takes itself for late, and looks whether clients that
    queued meanwhile are still there."""
    request = raw_request(scenario)
    if not scenario.closes:
        http1.repeat(server.port, request, n)
        return n
    worker = max(children(server))
    for _ in range(max(1, n // BATCH)):
        wait_for(lambda: state_of(worker) == 'S', 'the worker to be done')
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: state_of(worker) in 'tT', 'the worker to stop')
        sockets = [http1.connect(server.port) for _ in range(BATCH)]
        for s in sockets:
            s.sendall(request)
        os.kill(worker, signal.SIGCONT)
        for s in sockets:
            if http1.receive(s, 20).status != 200:
                raise Failed('a request was not answered')
            s.close()
    return max(1, n // BATCH) * BATCH


def parse_callgrind(text):
    """Instructions in all, and calls of libc's allocators by caller: (total, {(caller, allocator): calls}). A caller without a name, in a
    library without symbols, goes by that of the library."""
    names, calls, libraries = {}, collections.Counter(), {}
    function = called = library = None
    for line in text.splitlines():
        kind, _, value = line.partition('=')
        if kind in ('ob', 'cob'):
            number, _, path = value.partition(' ')
            if path:
                libraries[number] = path.rpartition('/')[2]
            if kind == 'ob':
                library = libraries.get(number)
        elif kind in ('fn', 'cfn'):
            number, _, name = value.partition(' ')
            if name:
                names[number] = re.sub(r"'\d+$", '', name)
            if kind == 'fn':
                function = number
            else:
                called = number
        elif kind == 'calls' and names.get(called) in MALLOCS:
            caller = names.get(function, function)
            calls[library if library and caller.startswith('0x') else caller, names[called]] += int(value.split()[0])
    total = re.search(r'^(?:summary|totals): (\d+)', text, re.M)
    return int(total.group(1)) if total else 0, calls


def instructions(spec, scenario, port, n):
    """Per request, user space: {'instructions': ..., 'mallocs': {(caller, allocator): ...}}. A warm-up goes ahead."""
    with tempfile.TemporaryDirectory(prefix='callgrind-') as folder:
        server = started(slowed(spec), scenario, port, 'valgrind --tool=callgrind --trace-children=yes --dump-line=no --callgrind-out-file=%s/out.%%p'
                         % folder, 120)
        try:
            worker = max(children(server))
            send(server, scenario, n // 4)
            subprocess.run(['callgrind_control', '-z', str(worker)], capture_output=True, check=True)
            sent = send(server, scenario, n)
            subprocess.run(['callgrind_control', '-d', str(worker)], capture_output=True, check=True)
            dump = wait_for_dump(Path(folder), worker)
            total, calls = parse_callgrind(dump)
        finally:
            server.stop()
    return dict(instructions=total / sent, mallocs={key: count / sent for key, count in calls.most_common()})


def is_python(function):
    """Whether it is one of CPython's allocators: for the application's objects, and for the environ, which is one. What valgrind knows
    nothing of is in a library, too: our own names it has read."""
    return re.match(r'_?Py|libpython|\?\?\?', function) is not None


def wait_for_dump(folder, worker):
    """callgrind_control returns when the dump is asked for; its last line says that it is whole."""
    def whole():
        for path in folder.glob('out.%d.*' % worker):
            lines = path.read_text(errors='replace').rstrip().splitlines()
            if lines and lines[-1].startswith('totals:'):
                found.append('\n'.join(lines))
        return found
    found = []
    wait_for(whole, 'callgrind to write the counts of process %d' % worker)
    return found[0]


def traced(spec, scenario, port, client):
    """All system calls of the server's tree, from start to stop, and how many requests client(server) made."""
    with tempfile.NamedTemporaryFile(prefix='strace-') as out:
        server = started(slowed(spec), scenario, port, 'strace -f -c -S name -o ' + out.name, 30)
        try:
            requests = client(server)
            # strace writes when the server is gone; the server goes in order.
            os.kill(min(pid for pid, s in tree(server.pid).items() if s['parent'] == server.pid), signal.SIGTERM)
            server.process.wait(20)
        finally:
            server.stop()
        calls = collections.Counter()
        for line in Path(out.name).read_text().splitlines():
            match = re.match(r'\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$', line)
            if match and match.group(2) != 'total':
                calls[match.group(2)] += int(match.group(1))
        return calls, requests


def system_calls(spec, scenario, ports, n):
    """Per request over one connection at a time, by name."""
    few, small = traced(spec, scenario, next(ports), lambda server: send(server, scenario, n // 10))
    many, large = traced(spec, scenario, next(ports), lambda server: send(server, scenario, n))
    return per_request(few, small, many, large)


def send_on_all(port, scenario, rounds):
    """On all of the scenario's connections at a time, and again when the last one is answered; how many requests. Counted here: wrk does
    not count what is under way when its time is up, which on a busy machine is a good part of all."""
    sockets, request = [http1.connect(port, 20) for _ in range(scenario.connections)], raw_request(scenario)
    for _ in range(rounds):
        for s in sockets:
            s.sendall(request)
        for s in sockets:
            if http1.receive(s, 20).status != 200:
                raise Failed('a request was not answered')
    for s in sockets:
        s.close()
    return rounds * len(sockets)


def system_calls_under_load(spec, scenario, ports, rounds):
    """Per request with all of the scenario's connections busy."""
    few, small = traced(spec, scenario, next(ports), lambda server: send_on_all(server.port, scenario, rounds // 10))
    many, large = traced(spec, scenario, next(ports), lambda server: send_on_all(server.port, scenario, rounds))
    return per_request(few, small, many, large)


def per_request(few, small, many, large):
    found = {name: (many[name] - few[name]) / (large - small) for name in many}
    return {name: round(count, 4) for name, count in sorted(found.items()) if count > 0.0005}


def page_faults(spec, scenario, port, n):
    """Minor faults per request of the worker, once it is warm."""
    server = started(spec, scenario, port)
    try:
        send(server, scenario, n // 4)
        worker = max(children(server))
        before = stat_of(worker)['faults']
        send(server, scenario, n)
        return (stat_of(worker)['faults'] - before) / n
    finally:
        server.stop()
