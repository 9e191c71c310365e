#!/usr/bin/env python3
"""A load generator that counts every request exactly once.

Each request carries a number of its own and ends in exactly one of these columns:

    answered     a whole, valid answer with its own number came back
    wrong        an answer came, but not this request's, or with another status than 200
    refused      the connection could not be made
    raced        an idle kept-alive connection was found closed: nothing of an answer came, and the request may be sent anew (RFC 9110, 9.2.2,
                 RFC 9112, 9.3.1); counted, then sent again under a new number
    cut          the connection ended or was reset within the request, and it was not the race above
    late         no answer in time
    abandoned    the client itself was killed: it reset the connection within the request

so that sent = answered + wrong + refused + raced + cut + late + abandoned, always. Kinds of clients:

    close    a connection per request
    keep     kept alive
    post     kept alive, with a body that the server must have read whole
    slow     a connection per request that runs for --slow seconds in the application
    pipe     pipelined, four at a time, kept alive
    quit     as slow, but dies at some moment of its request

The application under test answers /id?n=N with "N LENGTH-OF-BODY PID" (tests/e2e/apps/standard.py does).

As a program: load.py --address 127.0.0.1:8000 --seconds 10 --clients keep:4,close:2,post:2; prints the counts as JSON, exit status 0 if nothing was lost.
As a module: with Load(address, {'keep': 4}) as load: ...; load.counts. One thread, one selector: it must not starve the server it measures."""
import argparse
import collections
import errno
import itertools
import json
import random
import selectors
import socket
import struct
import sys
import threading
import time

COLUMNS = ('answered', 'wrong', 'refused', 'raced', 'cut', 'late', 'abandoned')
BODY = b'x' * 2000
PIPELINED = 4


class Client:
    """One client: sends, waits for the answer, sends again."""

    def __init__(self, load, kind):
        self.load, self.kind = load, kind
        self.sock = None
        self.waiting = collections.deque()  # numbers that are not answered yet
        self.received = b''
        self.unsent = b''
        self.served = 0                     # on this connection
        self.deadline = 0.0
        self.is_connecting = False
        self.again_at = 0.0                 # the end of a pause, 0: none
        self.quits_at = 0.0                 # kind quit: when it dies

    # ---- sending ----

    def request(self, number):
        path = f'/id?n={number}'
        if self.kind in ('slow', 'quit'):
            path += f'&s={self.load.slow_seconds}'
        method, body, fields = 'GET', b'', 'Host: load\r\n'
        if self.kind == 'post':
            method, body = 'POST', BODY
            fields += f'Content-Length: {len(BODY)}\r\n'
        if self.kind in ('close', 'slow', 'quit'):
            fields += 'Connection: close\r\n'
        return f'{method} {path} HTTP/1.1\r\n{fields}\r\n'.encode() + body

    def begin(self):
        if self.load.is_stopping:
            self.close()
            return
        if not self.sock and not self.connect():
            return
        numbers = [next(self.load.numbers) for _ in range(PIPELINED if self.kind == 'pipe' else 1)]
        self.load.sent += len(numbers)
        self.waiting.extend(numbers)
        self.unsent += b''.join(self.request(n) for n in numbers)
        self.deadline = time.monotonic() + self.load.patience
        self.quits_at = time.monotonic() + random.uniform(0, 1.5 * self.load.slow_seconds)
        if not self.is_connecting:
            self.write()

    def next(self):
        if self.load.pause:
            self.again_at = time.monotonic() + self.load.pause
        else:
            self.begin()

    def connect(self):
        self.served, self.received, self.unsent = 0, b'', b''
        family = socket.AF_UNIX if isinstance(self.load.address, str) else socket.AF_INET6 if ':' in self.load.address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        if self.kind == 'quit':
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))  # its end is a reset
        address = self.load.address
        if isinstance(address, str) and address.startswith('@'):
            address = '\0' + address[1:]
        fault = self.sock.connect_ex(address)
        if fault not in (0, errno.EINPROGRESS):
            self.sock.close()
            self.sock = None
            self.load.sent += 1
            self.load.note('refused', 1, errno.errorcode.get(fault, fault))
            self.again_at = time.monotonic() + 0.01
            return False
        self.is_connecting = fault == errno.EINPROGRESS
        self.load.selector.register(self.sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.is_connecting else 0), self)
        return True

    def write(self):
        try:
            while self.unsent:
                self.unsent = self.unsent[self.sock.send(self.unsent):]
        except BlockingIOError:
            pass
        except OSError as e:
            # What the server said before it went may still be readable.
            if not self.read():
                return
            self.fail(e)
            return
        self.load.selector.modify(self.sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unsent else 0), self)

    # ---- receiving ----

    def on_event(self, mask):
        if self.is_connecting:
            fault = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if fault:
                self.lose('refused', errno.errorcode.get(fault, fault))
                self.again_at = time.monotonic() + 0.01
                return
            self.is_connecting = False
        if mask & selectors.EVENT_READ and not self.read():
            return
        if mask & selectors.EVENT_WRITE:
            self.write()

    def read(self):
        """False if the connection is gone."""
        sock = self.sock
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError as e:
            self.fail(e)
            return False
        if not data:
            self.fail(None)
            return False
        self.received += data
        while self.received and self.sock is sock:
            if not self.take_answer():
                break
        return self.sock is sock

    def take_answer(self):
        end = self.received.find(b'\r\n\r\n')
        if end < 0:
            return False
        head = self.received[:end].decode('latin-1').split('\r\n')
        fields = {k.lower(): v.strip() for k, v in (line.split(':', 1) for line in head[1:])}
        length = int(fields.get('content-length', -1))
        if length < 0 or len(self.received) < end + 4 + length:
            if length < 0:
                self.lose('wrong', head[0])
            return False
        body = self.received[end + 4:end + 4 + length]
        self.received = self.received[end + 4 + length:]
        number = self.waiting.popleft() if self.waiting else None
        wanted = b'%d %d ' % (number or -1, len(BODY) if self.kind == 'post' else 0)
        good = head[0].startswith('HTTP/1.1 200 ') and body.startswith(wanted)
        self.load.note('answered' if good else 'wrong', 1, None if good else f'{head[0]} {body[:80]!r} for {number}')
        if good:
            self.load.by_process[body.rsplit(b' ', 1)[1]] += 1
        self.served += 1
        closes = fields.get('connection', '').lower() == 'close'
        if closes:
            if self.waiting:  # pipelined behind an answer that closes: never executed, may be sent anew
                self.load.note('raced', len(self.waiting), None)
                self.waiting.clear()
            self.close()
        if not self.waiting:
            self.next()
        return True

    # ---- ends ----

    def fail(self, error):
        if not self.waiting:
            self.close()
            self.next()
        elif self.served and not self.received:
            self.lose('raced', None)
        else:
            self.lose('cut', f'{error!r} after {self.served} answers, {len(self.received)} bytes of the next')

    def lose(self, column, reason):
        self.load.note(column, len(self.waiting), reason)
        self.waiting.clear()
        self.close()
        if not self.load.is_stopping and not self.again_at:
            self.begin()

    def close(self):
        if self.sock:
            self.load.selector.unregister(self.sock)
            self.sock.close()
        self.sock = None
        self.is_connecting = False
        self.received = self.unsent = b''

    def on_tick(self, now):
        if self.waiting and now > self.deadline:
            self.lose('late', f'{self.kind} request {self.waiting[0]}')
        elif self.waiting and self.kind == 'quit' and now > self.quits_at:
            self.again_at = now + self.load.slow_seconds  # the application goes on with it: no more than one at a time
            self.lose('abandoned', None)
        elif not self.waiting and not self.load.is_stopping and now >= self.again_at:
            self.again_at = 0.0
            self.begin()


class Load:
    """Clients in a thread of their own; a context. Leaving it waits for the answers under way."""

    def __init__(self, address, clients, *, slow_seconds=1.0, patience=20.0, pause=0.0, allowed=('answered', 'raced', 'abandoned')):
        self.address, self.slow_seconds, self.patience, self.allowed = address, slow_seconds, patience, allowed
        self.pause = pause          # of each client between an answer and its next request
        self.losses = []            # (when, column, reason) of what is not allowed
        self.selector = selectors.DefaultSelector()
        self.numbers = itertools.count(1)
        self.counts = collections.Counter()
        self.by_process = collections.Counter()
        self.reasons = collections.Counter()
        self.sent = 0
        self.is_stopping = False
        self.error = None
        self.clients = [Client(self, kind) for kind, count in clients.items() for _ in range(count)]
        self.thread = threading.Thread(target=self._run, daemon=True)

    def note(self, column, count, reason):
        self.counts[column] += count
        if column not in self.allowed:
            self.losses.append((time.monotonic(), column, reason))
        if reason is not None:
            self.reasons[f'{column}: {reason}'] += count

    def _run(self):
        try:
            for client in self.clients:
                client.begin()
            last = time.monotonic()
            while not self.is_stopping or any(c.waiting for c in self.clients):
                for key, mask in self.selector.select(0.02):
                    if key.fileobj is key.data.sock:  # not closed by an event before it
                        key.data.on_event(mask)
                now = time.monotonic()
                if now - last > 0.02:
                    last = now
                    for client in self.clients:
                        client.on_tick(now)
        except BaseException as e:
            self.error = e
        finally:
            for client in self.clients:
                client.close()

    def __enter__(self):
        self.thread.start()
        return self

    def finish(self):
        """Stops sending, waits for what is under way, checks the sum."""
        self.is_stopping = True
        self.thread.join(self.patience + 10)
        assert not self.thread.is_alive(), 'the load generator hangs'
        self.selector.close()
        if self.error:
            raise self.error
        total = sum(self.counts[c] for c in COLUMNS)
        assert total == self.sent, f'{self.sent} sent, {total} accounted for: {self}'
        return self

    def lost(self):
        return {c: self.counts[c] for c in COLUMNS if c not in self.allowed and self.counts[c]}

    def __exit__(self, kind, *_):
        if kind is not None:
            self.is_stopping = True
            self.thread.join(5)
            return
        self.finish()
        assert not self.lost(), str(self)

    def __str__(self):
        return f'{self.sent} sent; {dict(self.counts)}; {self.reasons.most_common(8)}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--address', required=True, help='HOST:PORT, or the path of a unix socket')
    parser.add_argument('--seconds', type=float, default=10)
    parser.add_argument('--clients', default='close:4,keep:4,post:2,slow:2')
    parser.add_argument('--slow', type=float, default=1.0)
    options = parser.parse_args()
    address = options.address
    if ':' in address and not address.startswith('/'):
        host, port = address.rsplit(':', 1)
        address = (host.strip('[]'), int(port))
    clients = {kind: int(count) for kind, count in (pair.split(':') for pair in options.clients.split(','))}
    load = Load(address, clients, slow_seconds=options.slow)
    load.thread.start()
    time.sleep(options.seconds)
    load.finish()
    print(json.dumps({'sent': load.sent, **load.counts, 'reasons': dict(load.reasons)}, indent=2))
    return 1 if load.lost() else 0


if __name__ == '__main__':
    sys.exit(main())
