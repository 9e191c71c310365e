"""The two-second smoke: it starts, answers, and stops."""
import json
import time

import pytest

from support.wait import SLOW

pytestmark = pytest.mark.core


def test_starts_answers_and_stops_within_two_seconds(cserve):
    begin = time.monotonic()
    server = cserve()
    assert server.get('/').body == b'hello'
    server.stop()
    assert time.monotonic() - begin < 2 * SLOW


def test_environ_of_a_plain_request(cserve):
    server = cserve()
    environ = json.loads(server.get('/environ?a=b').body)
    assert environ['REQUEST_METHOD'] == 'GET'
    assert environ['PATH_INFO'] == '/environ'
    assert environ['QUERY_STRING'] == 'a=b'
    assert environ['SERVER_PROTOCOL'] == 'HTTP/1.1'
    assert environ['SERVER_PORT'] == str(server.port)
    assert environ['REMOTE_ADDR'] == '127.0.0.1'
    assert environ['wsgi.url_scheme'] == 'http'
