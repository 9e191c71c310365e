"""What is measured: one row each, with the application, the client, and where cserve is to arrive."""
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

HELLO = b'Hello, World!'
BIG_FILE = Path(tempfile.gettempdir()) / 'cserve-bench-1m.bin'

BROWSER_FIELDS = (
    'Connection: keep-alive', 'Cache-Control: max-age=0', 'Upgrade-Insecure-Requests: 1',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
    'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
    'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: navigate',
    'Referer: https://www.example.org/catalogue/list?page=1&sort=asc',
    'Accept-Encoding: gzip, deflate, br, zstd', 'Accept-Language: en-GB,en;q=0.9,de;q=0.7',
    'Cookie: sessionid=3k9v0y1c7u5w2q8e4r6t1z3x5c7v9b0n; csrftoken=Q1w2E3r4T5y6U7i8O9p0A1s2D3f4G5h6; theme=dark; '
    '_ga=GA1.2.1234567890.1700000000',
)


def one_kilobyte_of_json():
    text = json.dumps({'items': [{'id': i, 'name': 'item-%04d' % i, 'price': 19.5} for i in range(20)], 'note': ''})
    return text[:-2] + 'n' * (1024 - len(text)) + text[-2:]


@dataclass(frozen=True)
class Scenario:
    title: str
    app: str = 'plain:hello'
    kind: str = 'wrk'           # who sends: wrk, a closed or an open loop of ours; or startup, memory
    expected: bytes = HELLO
    connections: int = 64
    workers: int = 1
    path: str = '/'
    fields: tuple = ()
    body: str = ''
    rate: int = 0               # requests a second, of an open loop
    idle: int = 0               # kept-alive connections that do nothing meanwhile
    kernel: str = ''            # arguments for the kernel's floor
    python: str = ''            # arguments for Python's floor
    without: tuple = ()         # servers that cannot take part
    only: tuple = ()            # servers that alone do
    beside: str = ''            # each server runs twice, without and with this: 'log' or 'idle'
    goal: float = None          # CPU of cserve divided by that of Python's floor, at most
    seconds: int = 0            # a round is at least as long

    @property
    def closes(self):
        return 'Connection: close' in self.fields

    @property
    def has_cpu(self):
        return self.kind in ('wrk', 'closed', 'open')


FLOORS = ('kernel', 'floor')
ONE_PROCESS = ('waitress', 'cheroot')

SCENARIOS = {
    'hello': Scenario('hello: no field but Host, kept alive, 64 connections', goal=1.10),
    'hello_c1': Scenario('hello over one connection', connections=1),
    'hello_c256': Scenario('hello over 256 connections', connections=256),
    'close': Scenario('a connection per request', fields=('Connection: close',), kernel='-c', python='-c', goal=1.05),
    'browser': Scenario('a browser\'s request: 12 fields, 700 bytes', 'plain:browser', fields=BROWSER_FIELDS,
                        path='/catalogue/list?page=2&sort=asc', python='-B -P /catalogue/list', goal=1.20),
    'post': Scenario('1 KB of JSON by POST', 'plain:post', expected=b'{"ok": true, "n": 20}', fields=('Content-Type: application/json',),
                     body=one_kilobyte_of_json(), kernel='-b 21', goal=1.05),
    'list10k': Scenario('10 KB body', 'plain:list10k', expected=b'x' * 10240, kernel='-b 10240', goal=1.10),
    'gen10': Scenario('generator of 10 chunks of 1 KB, no length', 'plain:gen10', expected=b'y' * 10240, kernel='-b 10240 -k 10', goal=1.05),
    'big1m': Scenario('1 MB body', 'plain:big1m', expected=b'z' * (1 << 20), connections=16, kernel='-b 1048576', goal=1.02),
    'file1m': Scenario('1 MB file through wsgi.file_wrapper', 'plain:file1m', expected=b'f' * (1 << 20), connections=16,
                       kernel='-b 1048576 -f %s' % BIG_FILE, goal=1.10),
    'flask': Scenario('hello from Flask', 'flaskapp:app', without=('kernel',), goal=1.05),
    'django': Scenario('hello from Django, with four middlewares', 'djangoapp:app', without=('kernel',), goal=1.02),
    'idle200': Scenario('hello beside 200 idle connections', idle=200, goal=1.10),
    'idle4000': Scenario('hello without and with 4,000 idle connections', idle=4000, beside='idle', only=('floor', 'cserve')),
    'access_log': Scenario('hello without and with an access log, to a file', beside='log'),
    'fairness': Scenario('4 workers, all busy: 32 connections in a closed loop, 5 % sleep 50 ms', 'plain:mixed', 'closed', workers=4,
                         connections=32, without=FLOORS + ONE_PROCESS, seconds=3),
    'queueing': Scenario('4 workers, mostly free: 200 requests a second, 5 % sleep 50 ms', 'plain:mixed', 'open', workers=4, connections=32,
                         rate=200, without=FLOORS + ONE_PROCESS, seconds=5),
    'queueing400': Scenario('4 workers, half busy: 400 requests a second, 5 % sleep 50 ms', 'plain:mixed', 'open', workers=4,
                            connections=32, rate=400, without=FLOORS + ONE_PROCESS, seconds=5),
    'startup': Scenario('start of 4 workers with Django, to the first answer', 'djangoapp:app', 'startup', workers=4,
                        without=('kernel',) + ONE_PROCESS),
    'memory': Scenario('memory of 4 workers with Django', 'djangoapp:app', 'memory', workers=4, without=('kernel',) + ONE_PROCESS),
}


def chosen(names):
    """The scenarios that a list by comma names; `all` names all."""
    if names == 'all':
        return dict(SCENARIOS)
    unknown = [n for n in names.split(',') if n not in SCENARIOS]
    if unknown:
        raise SystemExit('no such scenario: %s; there are %s' % (', '.join(unknown), ', '.join(SCENARIOS)))
    return {n: SCENARIOS[n] for n in names.split(',')}


def raw_request(scenario, host='127.0.0.1'):
    """The bytes of one request of it."""
    lines = ['%s %s HTTP/1.1' % ('POST' if scenario.body else 'GET', scenario.path), 'Host: ' + host, *scenario.fields]
    if scenario.body:
        lines.append('Content-Length: %d' % len(scenario.body))
    return ('\r\n'.join(lines) + '\r\n\r\n' + scenario.body).encode()


def write_big_file():
    BIG_FILE.write_bytes(b'f' * (1 << 20))
