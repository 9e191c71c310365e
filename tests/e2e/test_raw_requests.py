"""Every row of requests/*.txt against the real binary: whole, byte by byte, and some in two halves at each offset.

What comes back must not depend on how the bytes were split, so all three ways check the same outcome."""
import json
import time

import pytest

from support import table
from support.http import Connection, ConnectionEnded
from support.wait import LONG, SLOW, until

ROWS = table.rows()
SENTINEL = b'GET /sentinel HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
PATIENCE = 5 * SLOW
PIECE_PAUSE = 0.00005
LONG_ROW = 1500     # bytes; longer rows go in pieces instead of bytes
PIECE = 997
MOST_HALVES = 400   # bytes of a row that is split at each offset


@pytest.fixture(scope='module')
def server(module_cserve):
    return module_cserve(wsgi_app='witness:application')


@pytest.fixture(scope='module')
def control(server):
    with server.connect() as c:
        yield c


class Exchange:
    """One row on one connection."""

    def __init__(self, server, row):
        self.row = row
        self.connection = Connection(server.address, timeout=PATIENCE)
        self.port = self.connection.sock.getsockname()[1]
        self.data = row.data + (b'' if row.is_cut else SENTINEL)
        self.was_too_late = False

    def finish_sending(self):
        if self.row.is_cut:
            self.connection.half_close()

    def send(self, piece):
        """Goes on sending behind an answer that said close: the server may be gone by then, and its answer with it."""
        try:
            if not self.was_too_late:
                self.connection.sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            if not self.row.closes_as_asked:
                raise
            self.was_too_late = True

    def check(self, control):
        with self.connection:
            try:
                served = len(self.row.items) if self.was_too_late else self.check_answers()
            except ConnectionResetError:
                if not self.row.closes_as_asked:
                    raise
                served = len(self.row.items)
        seen = until(lambda: json.loads(control.get(f'/calls-of?{self.port}').body), 'a call', PATIENCE) if served else \
            json.loads(control.get(f'/calls-of?{self.port}').body)
        assert len(seen) == served, f'the application was called for {seen}'

    def check_answers(self):
        """Compares answer by answer; how many the application must have given."""
        served = 0
        for alternatives in self.row.items:
            if alternatives[0].is_cut:
                self.check_cut()
                return served
            response = self.answer(alternatives)
            outcome = self.match(response, alternatives)
            served += outcome.is_served
            if outcome.closes:
                assert response.closes, f'{response} does not say that the connection closes'
                self.connection.expect_close()
                return served
        last = self.connection.final()
        assert last.status == 200 and json.loads(last.body)['path'] == '/sentinel', f'{last} for the request behind the row'
        self.connection.expect_close()
        return served + 1

    def answer(self, alternatives):
        try:
            return self.connection.final('HEAD' if any(o.is_head for o in alternatives) else 'GET')
        except TimeoutError:
            raise AssertionError(f'no answer within {PATIENCE:g} s, expected {[o.text for o in alternatives]}') from None

    def match(self, response, alternatives):
        problems = []
        for outcome in alternatives:
            problem = self.problem(response, outcome)
            if not problem:
                return outcome
            problems.append(f'{outcome.text[:200]}: {problem}')
        raise AssertionError(f'{response}\n' + '\n'.join(problems))

    def problem(self, response, outcome):
        called = response['X-App'] is not None
        if not outcome.is_served:
            if response.status not in outcome.statuses:
                return f'status {response.status}'
            return 'the application answered' if called else None
        if response.status != 200 or not called:
            return f'status {response.status}'
        if outcome.is_head:
            return None
        seen = json.loads(response.body)
        for key, value in outcome.seen.items():
            if seen.get(key) != value:
                return f'{key} is {str(seen.get(key))[:300]!r}, not {value[:300]!r}'
        for key in outcome.absent:
            if key in seen:
                return f'{key} is there: {seen[key]!r}'
        return None

    def check_cut(self):
        try:
            response = self.connection.final()
        except ConnectionEnded:
            assert not self.connection.stream.buffer
            return
        assert response.status in (400, 408) and response['X-App'] is None, f'{response} for a request that was cut'
        self.connection.expect_close()


def ids(row):
    return row.id


@pytest.mark.core
@pytest.mark.parametrize('row', ROWS, ids=ids)
def test_whole(server, control, row):
    exchange = Exchange(server, row)
    exchange.connection.send(exchange.data)
    exchange.finish_sending()
    exchange.check(control)


@pytest.mark.parametrize('row', ROWS, ids=ids)
def test_in_small_pieces(server, control, row):
    """Byte by byte; long rows in pieces."""
    exchange = Exchange(server, row)
    step = 1 if len(row.data) <= LONG_ROW else PIECE
    data = exchange.data
    for at in range(0, len(data), step):
        exchange.send(data[at:at + step])
        time.sleep(PIECE_PAUSE)  # so that most pieces are read one by one
    exchange.finish_sending()
    exchange.check(control)


@pytest.mark.parametrize('row', [r for r in ROWS if len(r.data) <= MOST_HALVES][::1 if LONG else 6], ids=ids)
def test_in_two_halves_at_each_offset(server, control, row):
    exchanges = [Exchange(server, row) for _ in range(max(1, len(row.data)))]
    for at, exchange in enumerate(exchanges, 1):
        exchange.connection.send(exchange.data[:at])
    for at, exchange in enumerate(exchanges, 1):
        if exchange.data[at:]:
            exchange.send(exchange.data[at:])
        exchange.finish_sending()
    for at, exchange in enumerate(exchanges, 1):
        try:
            exchange.check(control)
        except AssertionError as e:
            raise AssertionError(f'split behind byte {at}, {exchange.data[:at][-20:]!r}: {e}') from e


def test_the_table_is_large_enough():
    assert len(ROWS) >= 300
