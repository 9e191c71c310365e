"""What each server does and does not do, seen from outside: a server that leaves work out is faster for it.

Nothing here is taken from documentation; each answer is looked at. Every probe has one worker and the options of the benchmark."""
import sys
import time

import http1
from processes import Server
from scenarios import Scenario

HOST = b'Host: 127.0.0.1\r\n'
WAIT = 1.5

# Name and bytes of requests that RFC 9112 or 9110 wants refused; a server that takes one may disagree with a proxy on what was asked.
MALFORMED = (
    ('no Host', b'GET / HTTP/1.1\r\n\r\n'),                                                             # RFC 9112, 3.2
    ('two Hosts', b'GET / HTTP/1.1\r\n' + HOST + b'Host: other\r\n\r\n'),                               # the same
    ('space before the colon', b'GET / HTTP/1.1\r\n' + HOST + b'X-Name : 1\r\n\r\n'),                    # 5.1
    ('a field without a colon', b'GET / HTTP/1.1\r\n' + HOST + b'nonsense\r\n\r\n'),                     # 5
    ('a folded line', b'GET / HTTP/1.1\r\n' + HOST + b'X-Name: 1\r\n 2\r\n\r\n'),                        # 5.2
    ('NUL in a value', b'GET / HTTP/1.1\r\n' + HOST + b'X-Name: a\0b\r\n\r\n'),                          # RFC 9110, 5.5
    ('a lone CR in a value', b'GET / HTTP/1.1\r\n' + HOST + b'X-Name: a\rb\r\n\r\n'),                    # RFC 9112, 2.2
    ('two lengths', b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 1\r\nContent-Length: 2\r\n\r\nab'),  # 6.3
    ('length +1', b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: +1\r\n\r\na'),                       # RFC 9110, 8.6
    ('length and chunked', b'POST / HTTP/1.1\r\n' + HOST + b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    ('chunked, not last', b'POST / HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'),  # RFC 9112, 6.3
    ('chunk size 0x1', b'POST /body HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n'),
    ('a space in the target', b'GET /a b HTTP/1.1\r\n' + HOST + b'\r\n'),                                # 3.2
)


def plain(path='/', more=b''):
    return b'GET %s HTTP/1.1\r\n%s%s\r\n' % (path.encode(), HOST, more)


def has_date(port):
    return 'yes' if http1.exchange(port, plain()).field('Date') else '**no**'


def keeps_alive(port):
    with http1.connect(port) as s:
        for _ in range(2):
            s.sendall(plain())
            if http1.receive(s, WAIT).status != 200:
                return '**no**'
    return 'yes'


def sends_chunks_when_produced(port):
    answer = http1.exchange(port, plain('/chunks'), WAIT)
    if not answer.is_whole and b'last' not in answer.body:
        return '**fails**'
    return 'yes' if answer.first_body_s < 0.2 else '**withheld**'


def lets_threads_run(port):
    """Whether a thread that the application started goes on while the server waits for requests: not if it waits with the GIL held."""
    http1.exchange(port, plain('/thread'))
    before = int(http1.exchange(port, plain('/ticks')).content)
    time.sleep(0.3)
    return 'yes' if int(http1.exchange(port, plain('/ticks')).content) - before > 30 else '**no**'


def serves_beside_a_slow_client(port):
    with http1.connect(port) as slow:
        slow.sendall(b'GET / HTTP/1.1\r\nHo')
        time.sleep(0.05)
        return 'yes' if http1.exchange(port, plain(), WAIT).status == 200 else '**no**'


def serves_beside_an_idle_one(port):
    with http1.connect(port) as idle:
        idle.sendall(plain())
        http1.receive(idle, WAIT)
        return 'yes' if http1.exchange(port, plain(), WAIT).status == 200 else '**no**'


def malformed_requests(port):
    taken = []
    for name, request in MALFORMED:
        try:
            answer = http1.exchange(port, request, WAIT)
        except OSError:
            continue
        if 200 <= answer.status < 400:
            taken.append(name)
    return 'none' if not taken else '**%d of %d**: %s' % (len(taken), len(MALFORMED), ', '.join(taken))


def header_injection(port):
    return '**sends it**' if b'\r\nInjected: yes' in http1.exchange(port, plain('/split'), WAIT).head else 'refuses'


def endless_head(port):
    """256 KiB of fields."""
    with http1.connect(port) as s:
        try:
            s.sendall(plain(more=b''.join(b'X-%d: %s\r\n' % (i, b'v' * 1000) for i in range(256))))
        except OSError:
            return 'refuses'
        answer = http1.receive(s, WAIT)
    return '**takes it**' if answer.status == 200 else 'refuses'


def chunked_body(port):
    request = b'POST /body HTTP/1.1\r\n' + HOST + b'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'
    return 'yes' if http1.exchange(port, request, WAIT).content == b'hello' else '**no**'


def expectation(port):
    with http1.connect(port) as s:
        s.sendall(b'POST /body HTTP/1.1\r\n' + HOST + b'Content-Length: 5\r\nExpect: 100-continue\r\n\r\n')
        return 'yes' if http1.receive(s, WAIT, has_body=False).status == 100 else '**no**'


def head_without_body(port):
    answer = http1.exchange(port, b'HEAD / HTTP/1.1\r\n' + HOST + b'Connection: close\r\n\r\n', WAIT / 3)
    return 'yes' if answer.status == 200 and not answer.body else '**no**'


def pipelining(port):
    with http1.connect(port) as s:
        s.sendall(plain() + plain('/wrapper'))
        seen, end = b'', time.monotonic() + WAIT
        while seen.count(b'HTTP/1.1 200') < 2 and time.monotonic() < end:
            answer = http1.receive(s, WAIT / 3)
            seen += answer.raw
            if answer.is_closed:
                break
    return 'yes' if seen.count(b'HTTP/1.1 200') == 2 else '**no**'


def file_wrapper(port):
    return 'yes' if http1.exchange(port, plain('/wrapper'), WAIT).content == b'yes' else '**no**'


PROBES = {
    'sends a Date': has_date,
    'keeps connections alive': keeps_alive,
    'serves others beside an idle connection': serves_beside_an_idle_one,
    'serves others beside half a request': serves_beside_a_slow_client,
    'sends a generator\'s chunk when it is produced': sends_chunks_when_produced,
    'lets the application\'s threads run while it waits': lets_threads_run,
    'takes malformed requests': malformed_requests,
    'a line break in a response\'s field': header_injection,
    'a head of 256 KB': endless_head,
    'takes a chunked body': chunked_body,
    'answers Expect: 100-continue': expectation,
    'answers HEAD without a body': head_without_body,
    'answers pipelined requests': pipelining,
    'offers wsgi.file_wrapper': file_wrapper,
}


def look(specs, ports):
    """A fresh server for each probe: one that hangs or dies of a probe spoils no other."""
    found = {}
    for name, spec in specs.items():
        if spec.is_floor:
            continue
        found[name] = {}
        for title, probe in PROBES.items():
            server = Server(name, spec, Scenario(title, 'probe:app'), next(ports))
            try:
                found[name][title] = probe(server.port) if server.wait_until_ready() else 'did not start'
            except (OSError, ValueError, TypeError) as error:
                found[name][title] = '**fails**'
                print('  %s, %s: %s' % (name, title, error), file=sys.stderr)
            finally:
                server.stop()
        print('  answers %s' % name, file=sys.stderr, flush=True)
    return found
