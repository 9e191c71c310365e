"""A client that sees bytes: raw sockets and a response parser that accepts nothing but what RFC 9112 allows a server to send."""
import re
import select
import socket
import struct
import time

from support.wait import SLOW

TIMEOUT = 10 * SLOW
STATUS_LINE = re.compile(rb'HTTP/1\.([01]) ([1-5]\d\d) ([\t \x21-\x7e\x80-\xff]*)')
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
CHUNK_SIZE = re.compile(rb'([0-9A-Fa-f]{1,16})')


class ProtocolError(AssertionError):
    """The server sent something that no client must accept."""


class ConnectionEnded(ProtocolError):
    """The connection ended within, or instead of, a response."""


class Response:
    def __init__(self, minor, status, reason, fields):
        self.minor, self.status, self.reason, self.fields = minor, status, reason, fields
        self.body = b''
        self.chunks = []        # sizes as they came, if chunked
        self.trailers = []
        self.framing = None     # 'none', 'length', 'chunked', 'close'

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def __getitem__(self, name):
        values = self.all(name)
        if len(values) > 1:
            raise ProtocolError(f'{name} comes {len(values)} times: {values}')
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode('latin-1')

    @property
    def closes(self):
        tokens = [t.strip().lower() for v in self.all('Connection') for t in v.split(',')]
        if self.framing == 'close' or 'close' in tokens:
            return True
        return self.minor == 0 and 'keep-alive' not in tokens

    def __repr__(self):
        return f'<{self.status} {self.reason} {self.fields} {self.body[:200]!r}>'


class Stream:
    """Bytes of one connection, read as needed."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b''
        self.ended = False

    def more(self):
        if self.ended:
            return False
        data = self.sock.recv(262144)
        self.buffer += data
        self.ended = not data
        return bool(data)

    def line(self, what):
        while b'\n' not in self.buffer:
            if len(self.buffer) > 100000:
                raise ProtocolError(f'{what} without an end')
            if not self.more():
                raise ConnectionEnded(f'the connection ended instead of {what}: {self.buffer[:300]!r}')
        line, self.buffer = self.buffer.split(b'\n', 1)
        if not line.endswith(b'\r') or b'\r' in line[:-1]:
            raise ProtocolError(f'{what} does not end in CRLF: {line!r}')
        return line[:-1]

    def exactly(self, count, what):
        parts, have = [self.buffer], len(self.buffer)
        while have < count:
            data = b'' if self.ended else self.sock.recv(min(1 << 20, max(65536, count - have)))
            if not data:
                self.ended = True
                raise ConnectionEnded(f'the connection ended after {have} of {count} bytes of {what}')
            parts.append(data)
            have += len(data)
        whole = b''.join(parts)
        self.buffer = whole[count:]
        return whole[:count]


def _fields(stream, what):
    fields = []
    while True:
        line = stream.line(what)
        if not line:
            return fields
        match = FIELD.fullmatch(line)
        if not match:
            raise ProtocolError(f'{what} has the line {line!r}')
        fields.append((match.group(1).decode(), match.group(2).decode('latin-1')))


def _head(stream):
    line = stream.line('a status line')
    match = STATUS_LINE.fullmatch(line)
    if not match:
        raise ProtocolError(f'not a status line: {line!r}')
    response = Response(int(match.group(1)), int(match.group(2)), match.group(3).decode('latin-1'), _fields(stream, 'a head'))
    response['Content-Length'], response['Transfer-Encoding'], response['Date'], response['Server']  # at most once each
    return response


def _chunked(stream, response, on_chunk):
    parts = []
    while True:
        line = stream.line('a chunk size')
        if not CHUNK_SIZE.fullmatch(line):
            raise ProtocolError(f'not a chunk size: {line!r}')
        size = int(line, 16)
        if size == 0:
            break
        data = stream.exactly(size, 'a chunk')
        if stream.exactly(2, 'the end of a chunk') != b'\r\n':
            raise ProtocolError('a chunk does not end in CRLF')
        parts.append(data)
        response.chunks.append(size)
        if on_chunk:
            on_chunk(data)
    response.trailers = _fields(stream, 'trailers')
    response.body = b''.join(parts)


def read_response(stream, method='GET', on_chunk=None, head_only=False):
    """The next response to `method`; interim ones (1xx) too, each as a response of its own."""
    response = _head(stream)
    coding, length = response['Transfer-Encoding'], response['Content-Length']
    if coding is not None and length is not None:
        raise ProtocolError('Transfer-Encoding together with Content-Length')
    if length is not None and not re.fullmatch(r'\d+', length):
        raise ProtocolError(f'Content-Length {length!r}')
    if response.status < 200 or response.status == 204:
        if coding is not None or length is not None:
            raise ProtocolError(f'a {response.status} with a field that frames a body')  # RFC 9110, 8.6; RFC 9112, 6.1
    if method == 'HEAD' or response.status < 200 or response.status in (204, 304):
        response.framing = 'none'
    elif coding is not None:
        if coding != 'chunked':
            raise ProtocolError(f'Transfer-Encoding {coding!r}')
        response.framing = 'chunked'
        if not head_only:
            _chunked(stream, response, on_chunk)
    elif length is not None:
        response.framing = 'length'
        if not head_only:
            response.body = stream.exactly(int(length), 'a body')
    else:
        response.framing = 'close'
        if not head_only:
            while stream.more():
                pass
            response.body, stream.buffer = stream.buffer, b''
    return response


class Connection:
    """A raw connection. `address` is (host, port), or the path of a unix socket ('@name' for an abstract one)."""

    def __init__(self, address, timeout=TIMEOUT, receive_buffer=None):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            target = '\0' + address[1:] if address.startswith('@') else address
        else:
            self.sock = socket.socket(socket.AF_INET6 if ':' in address[0] else socket.AF_INET, socket.SOCK_STREAM)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            target = address
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(target)
        except BaseException:
            self.sock.close()
            raise
        self.stream = Stream(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, *pieces, pause=0.0):
        """Each piece in a write of its own."""
        for i, piece in enumerate(pieces):
            if pause and i:
                time.sleep(pause)
            self.sock.sendall(piece)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Goes away without a word: the server's next write meets an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()

    def response(self, method='GET', on_chunk=None, head_only=False):
        return read_response(self.stream, method, on_chunk, head_only)

    def final(self, method='GET'):
        """The final response; interim ones are dropped."""
        while True:
            response = self.response(method)
            if response.status >= 200:
                return response

    def get(self, path='/', *fields, method='GET', body=None, version='1.1'):
        self.send(request(path, *fields, method=method, body=body, version=version))
        return self.final(method)

    def rest(self):
        """Everything until the server closes. A reset raises."""
        while self.stream.more():
            pass
        data, self.stream.buffer = self.stream.buffer, b''
        return data

    def expect_close(self):
        data = self.rest()
        if data:
            raise ProtocolError(f'{data[:300]!r} instead of the end of the connection')

    def has_news(self, within=0.0):
        """Bytes or the end have arrived."""
        return bool(self.stream.buffer) or bool(select.select([self.sock], [], [], within)[0])


def request(path='/', *fields, method='GET', body=None, version='1.1', host='test'):
    """The bytes of a request; fields as 'Name: value' texts."""
    head = [f'{method} {path} HTTP/{version}']
    if host is not None:
        head.append(f'Host: {host}')
    head += fields
    if body is not None and not any(f.lower().startswith(('content-length:', 'transfer-encoding:')) for f in fields):
        head.append(f'Content-Length: {len(body)}')
    return '\r\n'.join(head).encode('latin-1') + b'\r\n\r\n' + (body or b'')
