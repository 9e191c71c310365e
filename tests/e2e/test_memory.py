"""Large bodies up and down with bounded memory."""
import hashlib
import os
import signal

import pytest

from support import procfs
from support.http import request
from support.wait import SLOW, until

MEGABYTE = 1 << 20


def _upload(server, length, chunked=False):
    """Sends pseudo-random bytes; the answer and what it should be."""
    piece, digest = os.urandom(MEGABYTE), hashlib.sha256()
    fields = ['Transfer-Encoding: chunked'] if chunked else [f'Content-Length: {length}']
    with server.connect(timeout=120 * SLOW) as c:
        c.send(request('/digest', *fields, method='POST'))
        for _ in range(length // MEGABYTE):
            digest.update(piece)
            c.send(b'%x\r\n' % MEGABYTE + piece + b'\r\n' if chunked else piece)
            piece = piece[1:] + piece[:1]
        if chunked:
            c.send(b'0\r\n\r\n')
        return c.response().text, f'{length} {digest.hexdigest()}'


@pytest.mark.parametrize('chunked', [False, True], ids=['length', 'chunked'])
def test_100_megabytes_up_with_checksum_and_bounded_memory(cserve, sanitized, chunked):
    server = cserve()
    worker = server.workers()[0]
    server.get('/digest', method='POST', body=b'warm up')
    before = procfs.peak_rss(worker)
    answer, expected = _upload(server, 100 * MEGABYTE, chunked)
    assert answer == expected
    grown = procfs.peak_rss(worker) - before
    assert sanitized or grown < 8 * MEGABYTE, f'{grown / MEGABYTE:.1f} MB more at the peak'


def test_uploads_at_the_same_time(cserve, background, sanitized):
    server = cserve()
    worker = server.workers()[0]
    before = procfs.peak_rss(worker)
    uploads = [background(lambda stop: _upload(server, 20 * MEGABYTE)) for _ in range(5)]
    for u in uploads:
        u.__enter__()
    for u in uploads:
        answer, expected = u.join()
        assert answer == expected
    assert sanitized or procfs.peak_rss(worker) - before < 12 * MEGABYTE


def test_spooled_bodies_leave_no_file(cserve):
    spool = None

    def names():
        return os.listdir(spool)
    server = cserve(start=False)
    spool = server.directory / 'spool'
    spool.mkdir()
    server.settings['spool_dir'] = str(spool)
    server.start()
    with server.connect() as c:
        c.send(request('/digest', f'Content-Length: {MEGABYTE}', method='POST'), b'x' * (MEGABYTE // 2))
        assert server.get('/').status == 200
        assert names() == []
        c.send(b'x' * (MEGABYTE // 2))
        assert c.response().text.startswith(str(MEGABYTE))
    assert names() == []


def test_100_megabytes_down_with_bounded_memory(cserve, sanitized):
    server = cserve()
    worker = server.workers()[0]
    server.get('/stream?n=3&size=100000')
    before = procfs.peak_rss(worker)
    with server.connect(timeout=60 * SLOW) as c:
        c.send(request('/stream?n=1000&size=100000', 'Connection: close'))
        total = 0

        def count(data):
            nonlocal total
            total += len(data)
        c.response(on_chunk=count)
    assert total == 100_000_000
    assert sanitized or procfs.peak_rss(worker) - before < 16 * MEGABYTE  # response_buffer, and what malloc makes of it


def test_a_slow_reader_of_100_megabytes_with_bounded_memory(cserve, sanitized):
    """response_buffer and then a file: the application is done long before its reader."""
    server = cserve()
    worker = server.workers()[0]
    server.get('/stream?n=3&size=100000')
    before = procfs.peak_rss(worker)
    with server.connect(receive_buffer=4096, timeout=60 * SLOW) as slow:
        slow.send(request('/stream?n=1000&size=100000'))
        assert slow.has_news(5 * SLOW)
        assert server.get('/').status == 200
        response = slow.response()
        assert len(response.body) == 100_000_000
    assert sanitized or procfs.peak_rss(worker) - before < 16 * MEGABYTE  # response_buffer, and what malloc makes of it


def test_memory_stays_flat_over_many_requests(cserve, sanitized):
    server = cserve()
    worker = server.workers()[0]

    def burst(count):
        with server.connect() as c:
            for i in range(count):
                c.send(request(f'/echo?{i}', method='POST', body=b'x' * 3000))
                assert c.response().status == 200
    burst(1000)
    before = procfs.rss(worker)
    burst(6000)
    assert sanitized or procfs.rss(worker) - before < MEGABYTE


def test_memory_stays_flat_over_many_connections(cserve, sanitized):
    server = cserve()
    worker = server.workers()[0]

    def burst(count):
        for _ in range(count):
            assert server.get('/').status == 200
    burst(500)
    before, files = procfs.rss(worker), len(procfs.descriptors(worker))
    burst(3000)
    assert len(procfs.descriptors(worker)) <= files
    assert sanitized or procfs.rss(worker) - before < MEGABYTE


def test_the_arbiter_is_small_after_a_start_and_after_a_reload(cserve, sanitized):
    server = cserve(workers=2)
    for turn in range(2):
        # It gives memory back after it has said that it is ready.
        until(lambda: sanitized or procfs.rss(server.pid) < 2.5 * MEGABYTE, 'a small arbiter')
        mark = server.log_mark()
        server.signal(signal.SIGHUP)
        server.wait_for_log(f'generation {turn + 1} is gone', since=mark)


def test_the_arbiter_has_no_interpreter_and_no_threads(cserve):
    server = cserve(workers=1)
    with open(f'/proc/{server.pid}/status', encoding='ascii') as f:
        assert 'Threads:\t1\n' in f.read()


def test_a_full_spool_disk_is_an_answer_and_a_log_line(cserve):
    server = cserve(start=False)
    server.settings['spool_dir'] = str(server.directory / 'gone')
    (server.directory / 'gone').mkdir()
    server.start()
    (server.directory / 'gone').rmdir()
    response = server.get('/digest', method='POST', body=b'x' * MEGABYTE)
    assert response.status in (503, 507)
    server.wait_for_log(r'cannot keep a request body')
    assert server.get('/').status == 200
