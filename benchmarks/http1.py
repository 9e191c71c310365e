"""Just enough of an HTTP/1.1 client to see exactly what a server sends, and when."""
import re
import socket
import time

CRLF2 = b'\r\n\r\n'


def connect(port, timeout=5):
    s = socket.create_connection(('127.0.0.1', port), timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Answer:
    """What came back, as it came: `raw`, and of that `head` and `body`, still chunked if it was. `status` is 0 if there was no answer."""

    def __init__(self, raw, is_closed=False, first_body_s=None):
        self.raw, self.is_closed, self.first_body_s = raw, is_closed, first_body_s
        self.head, _, self.body = raw.partition(CRLF2)
        match = re.match(rb'HTTP/1\.[01] (\d{3})', raw)
        self.status = int(match.group(1)) if match else 0

    def field(self, name):
        match = re.search(rb'^%s: *(.*?)\r?$' % name.encode(), self.head, re.I | re.M)
        return match.group(1).decode('latin-1') if match else None

    @property
    def is_whole(self):
        if CRLF2 not in self.raw:
            return False
        if (self.field('Transfer-Encoding') or '').lower() == 'chunked':
            return self.body.endswith(b'0' + CRLF2)
        length = self.field('Content-Length')
        return length is not None and len(self.body) >= int(length)

    @property
    def content(self):
        if (self.field('Transfer-Encoding') or '').lower() != 'chunked':
            return self.body
        content, rest = b'', self.body
        while rest:
            line, _, rest = rest.partition(b'\r\n')
            size = int(line.split(b';')[0] or b'0', 16)
            content, rest = content + rest[:size], rest[size + 2:]
        return content

    @property
    def will_close(self):
        return (self.field('Connection') or '').lower() == 'close'


def receive(s, seconds=5, has_body=True):
    """One answer, or what there is of it when the time is up or the server closes."""
    begin, raw, first_body_s = time.perf_counter(), b'', None
    while True:
        s.settimeout(max(0.001, begin + seconds - time.perf_counter()))
        try:
            part = s.recv(262144)
        except OSError:
            return Answer(raw, False, first_body_s)
        if not part:
            return Answer(raw, True, first_body_s)
        raw += part
        answer = Answer(raw)
        if answer.body and first_body_s is None:
            first_body_s = time.perf_counter() - begin
        if answer.is_whole or not has_body and CRLF2 in raw:
            answer.first_body_s = first_body_s
            return answer


def exchange(port, request, timeout=5, has_body=True):
    with connect(port, timeout) as s:
        s.sendall(request)
        return receive(s, timeout, has_body)


def get(port, path='/', timeout=5):
    return exchange(port, b'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' % path.encode(), timeout)


def repeat(port, request, n, timeout=30):
    """n times the same request, one after the other, kept alive where the server does; how many connections it took."""
    connections, s = 0, None
    for _ in range(n):
        if s is None:
            s, connections = connect(port, timeout), connections + 1
        s.sendall(request)
        answer = receive(s, timeout)
        if not 200 <= answer.status < 300:
            raise ConnectionError('status %d' % answer.status)
        if answer.will_close or answer.is_closed:
            s.close()
            s = None
    if s:
        s.close()
    return connections
