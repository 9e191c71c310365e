"""The load generator counts every request once, whatever becomes of it."""
import re
import socket
import threading
import time

import pytest
from load import COLUMNS, Load

from support.wait import until


class Scripted:
    """A server that answers the way it is told to."""

    def __init__(self, behave):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = self.listener.getsockname()
        self.behave = behave
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        count, data = 0, b''
        with sock:
            while True:
                while b'\r\n\r\n' not in data:
                    piece = sock.recv(65536)
                    if not piece:
                        return
                    data += piece
                head, data = data.split(b'\r\n\r\n', 1)
                number = int(re.search(rb'n=(\d+)', head).group(1))
                if not self.behave(sock, number, count):
                    return
                count += 1

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def answer(sock, number, extra=b''):
    body = b'%d 0 1' % number
    sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s' % (len(body), extra, body))
    return True


def run(behave, clients, **options):
    server = Scripted(behave)
    load = Load(server.address, clients, **options)
    load.thread.start()
    until(lambda: sum(load.counts[c] for c in COLUMNS) > 50 or load.error, 'fifty requests')
    load.finish()
    server.close()
    return load


def test_good_answers_are_answered():
    load = run(lambda sock, number, count: answer(sock, number), {'keep': 2})
    assert load.counts['answered'] == load.sent and not load.lost()


def test_an_answer_to_another_request_is_wrong():
    load = run(lambda sock, number, count: answer(sock, number + 1), {'keep': 2})
    assert load.counts['wrong'] == load.sent and load.lost()


def test_another_status_is_wrong():
    def behave(sock, number, count):
        sock.sendall(b'HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n')
        return True
    assert run(behave, {'keep': 1}).counts['wrong']


def test_a_connection_that_ends_before_its_first_answer_is_cut():
    load = run(lambda sock, number, count: False, {'keep': 1})
    assert load.counts['cut'] == load.sent


def test_a_connection_that_ends_between_answers_is_a_race():
    load = run(lambda sock, number, count: count < 3 and answer(sock, number), {'keep': 1})
    assert load.counts['raced'] and load.counts['answered'] and not load.lost()


def test_an_answer_that_is_cut_is_no_race():
    def behave(sock, number, count):
        if count < 2:
            return answer(sock, number)
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxxx')
        return False
    load = run(behave, {'keep': 1})
    assert load.counts['cut'] and load.lost()


def test_announced_ends_are_nothing_special():
    def behave(sock, number, count):
        answer(sock, number, b'Connection: close\r\n')
        return False
    load = run(behave, {'keep': 1, 'close': 1})
    assert load.counts['answered'] == load.sent


def test_no_answer_is_late():
    load = run(lambda sock, number, count: time.sleep(0.5) or True, {'close': 30}, patience=0.1)
    assert load.counts['late'] == load.sent


def test_nobody_listening_is_refused():
    with socket.create_server(('127.0.0.1', 0)) as s:
        address = s.getsockname()
    load = Load(address, {'close': 2})
    load.thread.start()
    until(lambda: load.counts['refused'] > 5, 'refusals')
    load.finish()
    assert load.counts['refused'] == load.sent


def test_leaving_the_context_complains_about_losses():
    server = Scripted(lambda sock, number, count: False)
    with pytest.raises(AssertionError, match='cut'):
        with Load(server.address, {'keep': 1}):
            time.sleep(0.1)
    server.close()
