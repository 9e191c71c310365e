"""wsgi.file_wrapper, with sendfile and without."""
import hashlib
import os

import pytest

from support.http import ConnectionEnded, request

pytestmark = pytest.mark.core

APP = '''
import gzip
import io
import os
import tempfile

CLOSED = []
NAME = 'data.bin'


class Counted:
    """A file object in the widest sense."""
    def __init__(self, data, name):
        self.file, self.name = io.BytesIO(data), name

    def read(self, size):
        return self.file.read(size)

    def close(self):
        CLOSED.append(self.name)


class NoClose:
    def __init__(self, data):
        self.read = io.BytesIO(data).read


def wrap(file, headers=(), before=None, block=None):
    def run(environ, start):
        f = file()
        if before:
            before(f)
        start('200 OK', list(headers))
        wrapper = environ['wsgi.file_wrapper']
        return wrapper(f) if block is None else wrapper(f, block)
    return run


def opened():
    return open(NAME, 'rb')


def subclassed(environ, start):
    class Upper(environ['wsgi.file_wrapper']):
        def __next__(self):
            return super().__next__().upper()
    start('200 OK', [])
    return Upper(io.BytesIO(b'lower'))


def iterated(environ, start):
    """A middleware that looks at every block."""
    wrapper = environ['wsgi.file_wrapper'](opened(), 1000)
    start('200 OK', [])
    assert wrapper.blksize == 1000 and wrapper.filelike.name == NAME
    yield from wrapper
    wrapper.close()
    wrapper.close()
    assert wrapper.filelike.closed


def fifo(environ, start):
    read, write = os.pipe()
    os.write(write, b'from a pipe')
    os.close(write)
    start('200 OK', [])
    return environ['wsgi.file_wrapper'](os.fdopen(read, 'rb'))


def packed():
    with gzip.open('packed.gz', 'wb') as f:
        f.write(b'unpacked text')
    return gzip.open('packed.gz', 'rb')


def temporary():
    f = tempfile.NamedTemporaryFile()
    f.write(b'0123456789')
    f.flush()
    f.seek(4)
    return f


PATHS = {
    '/whole': wrap(opened), '/block': wrap(opened, block=70000), '/unbuffered': wrap(lambda: open(NAME, 'rb', 0)),
    '/seek': wrap(opened, before=lambda f: f.seek(1000)), '/read': wrap(opened, before=lambda f: f.read(10)), '/end': wrap(opened, before=lambda f: f.seek(0, 2)),
    '/beyond': wrap(opened, before=lambda f: f.seek(10 ** 9)), '/part': wrap(opened, [('Content-Length', '100')], before=lambda f: f.seek(5)),
    '/too-long': wrap(lambda: open('small.bin', 'rb'), [('Content-Length', '100')]), '/empty': wrap(lambda: open('empty.bin', 'rb')),
    '/bytesio': wrap(lambda: io.BytesIO(b'in memory')), '/counted': wrap(lambda: Counted(b'c' * 20000, 'counted')), '/no-close': wrap(lambda: NoClose(b'no close')),
    '/closed': wrap(opened, before=lambda f: f.close()), '/sub': subclassed, '/iterated': iterated, '/fifo': fifo, '/gzip': wrap(packed), '/temporary': wrap(temporary),
    '/not-modified': lambda e, s: (s('304 Not Modified', []), e['wsgi.file_wrapper'](opened()))[1],
}


def application(environ, start_response):
    if environ['PATH_INFO'] == '/log':
        start_response('200 OK', [])
        names, CLOSED[:] = ' '.join(CLOSED), []
        return [names.encode()]
    if environ['PATH_INFO'] == '/descriptors':
        start_response('200 OK', [])
        return [str(len(os.listdir('/proc/self/fd'))).encode()]
    return PATHS[environ['PATH_INFO']](environ, start_response)
'''

DATA = b''.join(hashlib.sha256(b'%d' % i).digest() for i in range(40000))  # 1.28 MB


@pytest.fixture(scope='module', params=['true', 'false'], ids=['sendfile', 'read'])
def server(module_cserve, request):
    server = module_cserve(app=APP, settings={'sendfile': request.param}, start=False)
    (server.app_directory / 'data.bin').write_bytes(DATA)
    (server.app_directory / 'small.bin').write_bytes(b'small')
    (server.app_directory / 'empty.bin').write_bytes(b'')
    server.is_sendfile = request.param == 'true'
    return server.start()


@pytest.mark.parametrize('path, body', [
    ('/whole', DATA), ('/block', DATA), ('/unbuffered', DATA), ('/seek', DATA[1000:]), ('/read', DATA[10:]), ('/end', b''), ('/beyond', b''),
    ('/part', DATA[5:105]), ('/empty', b''), ('/bytesio', b'in memory'), ('/counted', b'c' * 20000), ('/no-close', b'no close'), ('/sub', b'LOWER'),
    ('/iterated', DATA), ('/fifo', b'from a pipe'), ('/gzip', b'unpacked text'), ('/temporary', b'456789'), ('/not-modified', b''),
])
def test_content(server, path, body):
    if path == '/part' and not server.is_sendfile:
        path = '/bytesio'  # without sendfile a longer file is an error of the application's, tested elsewhere
        body = b'in memory'
    before = server.get('/descriptors').body
    with server.connect() as c:
        for _ in range(3):
            response = c.get(path)
            assert response.body == body
            if path == '/whole' and server.is_sendfile:
                assert response['Content-Length'] == str(len(DATA))
    assert server.get(path, method='HEAD').body == b''
    assert server.raw(request(path, version='1.0')).body == body
    assert server.get('/descriptors').body == before


def test_close_once(server):
    server.get('/log')
    server.get('/counted')
    server.get('/counted', method='HEAD')
    assert server.get('/log').body == b'counted counted'


def test_a_file_that_is_too_short(server):
    with server.connect() as c:
        c.send(request('/too-long'))
        with pytest.raises(ConnectionEnded):
            c.response()


def test_a_closed_file(server):
    mark = server.log_mark()
    with server.connect() as c:
        c.send(request('/closed'))
        assert c.response().status == 500
    assert 'ValueError' in server.log(mark)


def test_a_slow_reader_gets_all_of_it(server):
    with server.connect(receive_buffer=4096) as c:
        c.send(request('/whole'))
        with server.connect() as other:
            assert other.get('/bytesio').body == b'in memory'
        assert c.response().body == DATA
    assert os.path.exists(server.app_directory / 'data.bin')
