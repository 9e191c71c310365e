"""The clients: wrk for throughput, and two loops of ours, which look at what a quick request waits while others are slow.

Each takes a server, a scenario, the length of a round and its number, and returns what happened in that round as a dict."""
import json
import os
import random
import re
import select
import subprocess
import tempfile
import time

import http1
from scenarios import HELLO

SLOW_SHARE = 0.05
ENDS = (HELLO, HELLO + b'\r\n0\r\n\r\n')

LUA = '''
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('JSON{"requests":%d,"us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,'
    .. '"p50_us":%g,"p90_us":%g,"p99_us":%g,"p999_us":%g,"max_us":%g}\\n', summary.requests, summary.duration, e.connect, e.read, e.write,
    e.status, e.timeout, latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9), latency.max))
end
'''


def wrk(server, scenario, seconds, round_number):
    with tempfile.NamedTemporaryFile('w', suffix='.lua') as script:
        if scenario.body:
            script.write('wrk.method = "POST"\nwrk.body = [[%s]]\n' % scenario.body)
        script.write(LUA)
        script.flush()
        command = ['taskset', '-c', '1'] if os.cpu_count() > 1 else []
        command += ['wrk', '-t1', '-c%d' % scenario.connections, '-d%ds' % seconds, '--timeout', '2s', '-s', script.name]
        for field in scenario.fields:
            command += ['-H', field]
        command.append('http://127.0.0.1:%d%s' % (server.port, scenario.path))
        before = server.cpu_seconds()
        text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        cpu = server.cpu_seconds() - before
    match = re.search(r'JSON(\{.*\})', text)
    if not match:
        return dict(error=text[-300:])
    told = json.loads(match.group(1))
    failed = told['connect'] + told['read'] + told['write'] + told['status'] + told['timeout']
    wall, requests = told['us'] / 1e6, told['requests']
    percentiles = {k: v for k, v in told.items() if k.startswith('p') or k == 'max_us'}
    return dict(requests=requests, failed=failed, rps=requests / wall, busy=cpu / wall, cpu_us=cpu * 1e6 / max(requests, 1), **percentiles)


def summary(server, wall, cpu, quick, sent, failed, starved):
    quick = sorted(quick)

    def percentile(share):
        return quick[min(len(quick) - 1, int(share * len(quick)))] * 1e6 if quick else None

    return dict(requests=sent, failed=failed, starved=starved, rps=sent / wall, cpu_us=cpu * 1e6 / max(sent, 1), busy=cpu / wall,
                p50_us=percentile(.5), p90_us=percentile(.9), p99_us=percentile(.99), p999_us=percentile(.999), max_us=percentile(1))


class Connection:
    def __init__(self, port):
        self.socket, self.received, self.is_slow, self.since, self.was_served = http1.connect(port, 2), b'', False, None, False

    def send(self, is_slow, since):
        self.is_slow, self.since, self.received = is_slow, since, b''
        self.socket.sendall(b'GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n' % (b'slow' if is_slow else b'fast'))


class Pool:
    """Kept-alive connections; one that the server closes is replaced. Events come as ('answered' or 'lost', connection)."""

    def __init__(self, port, n):
        self.port, self.epoll, self.connections = port, select.epoll(), {}
        for _ in range(n):
            self.open()

    def open(self):
        connection = Connection(self.port)
        self.connections[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket.fileno(), select.EPOLLIN)
        return connection

    def close(self, connection):
        self.epoll.unregister(connection.socket.fileno())
        del self.connections[connection.socket.fileno()]
        connection.socket.close()

    def close_all(self):
        for connection in list(self.connections.values()):
            self.close(connection)
        self.epoll.close()

    def events(self, seconds):
        for fd, _ in self.epoll.poll(seconds):
            connection = self.connections.get(fd)
            if connection is None:
                continue
            try:
                part = connection.socket.recv(65536)
            except OSError:
                part = b''
            connection.received += part
            if connection.received.endswith(ENDS):
                connection.was_served = True
                yield 'answered', connection
            elif not part:
                yield 'lost', connection

    def refresh(self, connection):
        """The same one, or another where it cannot be used again."""
        if connection.received.endswith(ENDS) and b'connection: close' not in connection.received.lower():
            return connection
        self.close(connection)
        return self.open()


def closed_loop(server, scenario, seconds, round_number):
    """Each connection sends its next request as soon as it has its answer: all workers are busy. Latency of the quick requests."""
    rng, pool = random.Random(round_number), Pool(server.port, scenario.connections)
    quick, done, failed = [], 0, 0
    before, start = server.cpu_seconds(), time.perf_counter()
    for connection in pool.connections.values():
        connection.send(rng.random() < SLOW_SHARE, time.perf_counter())
    while time.perf_counter() < start + seconds:
        for event, connection in pool.events(0.1):
            now = time.perf_counter()
            if event == 'lost':
                failed += 1
            else:
                done += 1
                if not connection.is_slow:
                    quick.append(now - connection.since)
            try:
                pool.refresh(connection).send(rng.random() < SLOW_SHARE, time.perf_counter())
            except OSError:
                failed += 1
    wall, cpu = time.perf_counter() - start, server.cpu_seconds() - before
    starved = sum(not c.was_served for c in pool.connections.values() if c.since < start + seconds / 2)
    pool.close_all()
    return summary(server, wall, cpu, quick, done, failed, starved)


def open_loop(server, scenario, seconds, round_number):
    """Requests arrive at random times, `rate` a second, and go out on an idle connection, as from a proxy's pool. Latency of the quick ones
    from their arrival. The workers are far from all busy: whatever a quick request waits, it waits for one of them while others are idle."""
    rng, pool = random.Random(round_number), Pool(server.port, scenario.connections)
    idle, backlog, quick, sent, failed = list(pool.connections.values()), [], [], 0, 0
    before, start = server.cpu_seconds(), time.perf_counter()
    due, end = start, start + seconds
    while time.perf_counter() < end:
        while due <= time.perf_counter():
            backlog.append(due)
            sent += 1
            due += rng.expovariate(scenario.rate)
        while backlog and idle:
            connection = idle.pop(rng.randrange(len(idle)))
            try:
                connection.send(rng.random() < SLOW_SHARE, backlog[0])
                backlog.pop(0)
            except OSError:
                connection.received = b''
                idle.append(pool.refresh(connection))
        for event, connection in pool.events(max(0.0, min(due, end) - time.perf_counter())):
            if event == 'lost':
                failed += connection.since is not None
                if connection in idle:
                    idle.remove(connection)
            elif not connection.is_slow:
                quick.append(time.perf_counter() - connection.since)
            connection.since = None
            idle.append(pool.refresh(connection))
    wall, cpu = time.perf_counter() - start, server.cpu_seconds() - before
    pool.close_all()
    return summary(server, wall, cpu, quick, sent, failed, len(backlog))


def open_idle(port, n):
    """Kept-alive connections that have had one answer each. A server that serves one at a time stops us after a few."""
    sockets, failures = [], 0
    request = b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
    while len(sockets) < n and failures < 3:
        try:
            s = http1.connect(port, 2)
            s.sendall(request)
            answer = http1.receive(s, 2)
        except OSError:
            failures += 1
            continue
        if answer.status != 200:
            failures += 1
        sockets.append(s)
    return sockets


def still_open(sockets):
    n = 0
    for s in sockets:
        s.setblocking(False)
        try:
            n += s.recv(4096) != b''
        except BlockingIOError:
            n += 1
        except OSError:
            pass
    return n


CLIENTS = {'wrk': wrk, 'closed': closed_loop, 'open': open_loop}
