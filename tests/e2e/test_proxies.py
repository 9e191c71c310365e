"""What proxies say of clients: believed from those that are trusted, and from nobody else."""
import json
import socket
import struct
import time

import pytest

from support.http import Connection, ConnectionEnded, Stream, request
from support.wait import SLOW

TRUSTED, STRANGER = '127.0.0.1', '127.0.0.2'


def from_address(server, source, data):
    """The final response to bytes that come from that address."""
    c = Connection.__new__(Connection)
    c.sock = socket.create_connection(server.address, timeout=10, source_address=(source, 0))
    c.stream = Stream(c.sock)
    with c:
        c.send(data)
        return c.final()


def seen(server, source, *fields, prefix=b''):
    response = from_address(server, source, prefix + request('/environ', 'Connection: close', *fields))
    assert response.status == 200, response
    return json.loads(response.body)


# ---- forwarding fields ----

@pytest.mark.core
def test_a_stranger_is_not_believed(cserve):
    server = cserve()
    assert seen(server, TRUSTED, 'X-Forwarded-Proto: https')['wsgi.url_scheme'] == 'https'
    assert seen(server, STRANGER, 'X-Forwarded-Proto: https')['wsgi.url_scheme'] == 'http'
    assert from_address(server, STRANGER, request('/environ', 'X-Forwarded-Proto: https', 'X-Forwarded-Ssl: off')).status == 200


def test_script_name_of_a_stranger_is_dropped(cserve):
    server = cserve()
    environ = seen(server, STRANGER, 'SCRIPT_NAME: /environ', 'PATH_INFO: /x')
    assert environ['SCRIPT_NAME'] == '' and environ['PATH_INFO'] == '/environ'
    assert 'HTTP_SCRIPT_NAME' not in environ and 'HTTP_PATH_INFO' not in environ


@pytest.mark.parametrize('allowed, believed', [('127.0.0.2', True), ('127.0.0.0/8', True), ('127.0.0.3', False), ('10.0.0.0/8, 127.0.0.2', True),
                                               ('*', True), ('', False), ('::1', False)])
def test_forwarded_allow_ips(cserve, allowed, believed):
    server = cserve(settings={'forwarded_allow_ips': allowed})
    assert (seen(server, STRANGER, 'X-Forwarded-Proto: https')['wsgi.url_scheme'] == 'https') == believed


def test_peers_of_a_unix_socket_are_believed(cserve):
    server = cserve(bind='unix')
    response = server.get('/environ', 'X-Forwarded-Proto: https')
    assert json.loads(response.body)['wsgi.url_scheme'] == 'https'


def test_peers_of_a_unix_socket_are_not_believed_when_nobody_is(cserve):
    server = cserve(bind='unix', settings={'forwarded_allow_ips': ''})
    response = server.get('/environ', 'X-Forwarded-Proto: https')
    assert json.loads(response.body)['wsgi.url_scheme'] == 'http'


def test_header_map_refuse(cserve):
    server = cserve(settings={'header_map': 'refuse'})
    assert server.get('/', 'X_A: b').status == 400
    assert server.get('/', 'X-A: b').status == 200


def test_own_scheme_headers(cserve):
    server = cserve(settings={'secure_scheme_headers': 'X-Own:yes'})
    assert seen(server, TRUSTED, 'X-Own: yes')['wsgi.url_scheme'] == 'https'
    assert seen(server, TRUSTED, 'X-Forwarded-Proto: https')['wsgi.url_scheme'] == 'http'


def test_the_connection_decides_who_the_peer_is(cserve):
    server = cserve()
    environ = seen(server, STRANGER, 'X-Forwarded-For: 9.9.9.9')
    assert environ['REMOTE_ADDR'] == STRANGER and environ['HTTP_X_FORWARDED_FOR'] == '9.9.9.9'


# ---- the PROXY protocol ----

V1 = b'PROXY TCP4 192.0.2.7 192.0.2.8 5678 80\r\n'
V1_6 = b'PROXY TCP6 2001:db8::7 2001:db8::8 5678 80\r\n'
SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'


def v2(command=1, family=1, addresses=None, extra=b''):
    if addresses is None:
        addresses = socket.inet_aton('192.0.2.7') + socket.inet_aton('192.0.2.8') + struct.pack('!HH', 5678, 80)
    body = addresses + extra
    return SIGNATURE + bytes([0x20 | command, family << 4 | (1 if family else 0)]) + struct.pack('!H', len(body)) + body


@pytest.mark.parametrize('mode, prefix, address', [
    ('v1', V1, '192.0.2.7'), ('auto', V1, '192.0.2.7'), ('v1', V1_6, '2001:db8::7'), ('v2', v2(), '192.0.2.7'), ('auto', v2(), '192.0.2.7'),
    ('v2', v2(family=2, addresses=socket.inet_pton(socket.AF_INET6, '2001:db8::7') + socket.inet_pton(socket.AF_INET6, '2001:db8::8')
              + struct.pack('!HH', 5678, 80)), '2001:db8::7'),
    ('v2', v2(extra=b'\x04\0\x05hello'), '192.0.2.7'), ('v2', v2(command=0, family=0, addresses=b''), TRUSTED), ('v1', b'PROXY UNKNOWN\r\n', TRUSTED)])
def test_proxy_protocol_tells_the_client(cserve, mode, prefix, address):
    server = cserve(settings={'proxy_protocol': mode})
    environ = seen(server, TRUSTED, prefix=prefix)
    assert environ['REMOTE_ADDR'] == address
    if address != TRUSTED:
        assert environ['REMOTE_PORT'] == '5678'


def test_proxy_protocol_holds_for_the_whole_connection(cserve):
    server = cserve(settings={'proxy_protocol': 'v1'})
    with server.connect() as c:
        c.send(V1)
        for _ in range(3):
            assert json.loads(c.get('/environ').body)['REMOTE_ADDR'] == '192.0.2.7'
        c.send(V1 + request('/'))
        assert c.response().status in (400, 505), 'a second preamble is no request'
    assert "request from '192.0.2.7' refused" in server.log()


def test_proxy_protocol_byte_by_byte(cserve):
    server = cserve(settings={'proxy_protocol': 'auto'})
    for prefix in (V1, v2()):
        with server.connect() as c:
            data = prefix + request('/environ')
            for i in range(len(data)):
                c.send(data[i:i + 1])
            assert json.loads(c.response().body)['REMOTE_ADDR'] == '192.0.2.7'


@pytest.mark.parametrize('begun', [V1[:1], V1[:-1], SIGNATURE[:1], v2()[:-1]], ids=['v1-byte', 'v1-all-but-one', 'v2-byte', 'v2-all-but-one'])
def test_a_preamble_that_never_ends_is_bound_by_header_timeout(cserve, begun):
    server = cserve(settings={'proxy_protocol': 'auto', 'header_timeout': '300ms', 'keepalive': '600'})
    with server.connect() as c:
        c.send(begun)
        assert c.response().status == 408
        c.expect_close()
    server.wait_for_log('its PROXY header was not complete within header_timeout')


def test_header_timeout_counts_from_the_first_byte_of_the_preamble(cserve):
    """Neither the rest of it nor the first byte of the head begins anew."""
    server = cserve(settings={'proxy_protocol': 'v1', 'header_timeout': '500ms', 'keepalive': '600'})
    with server.connect() as c:
        begin = time.monotonic()
        for piece in [V1[i:i + 4] for i in range(0, len(V1), 4)] + [b'GET / HTTP/1.1\r\n'] + [b'X: y\r\n'] * 10000:
            if c.has_news(0.04):
                break
            assert time.monotonic() - begin < 5 * SLOW, 'it trickles on for ever'
            c.send(piece)
        assert c.response().status == 408


def test_a_whole_preamble_is_no_slow_head(cserve):
    server = cserve(settings={'proxy_protocol': 'v1', 'header_timeout': '300ms', 'keepalive': '600'})
    with server.connect() as whole, server.connect() as halves:
        whole.send(V1)
        halves.send(V1[:20])
        assert not halves.has_news(0.1)
        halves.send(V1[20:])
        assert not halves.has_news(0.8)
        assert json.loads(whole.get('/environ').body)['REMOTE_ADDR'] == json.loads(halves.get('/environ').body)['REMOTE_ADDR'] == '192.0.2.7'


@pytest.mark.parametrize('prefix', [b'', b'PROXY TCP4 192.0.2.7\r\n', b'PROXY TCP4 192.0.2.7 192.0.2.8 5678 99999\r\n', b'PROXY TCP9 a b 1 2\r\n',
                                    b'proxy TCP4 192.0.2.7 192.0.2.8 1 2\r\n', b'PROXY TCP4 ::1 ::1 1 2\r\n', b'PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n',
                                    b'PROXY ' + b'x' * 200 + b'\r\n', V1 + b'\r\n\r\n', SIGNATURE[:-1] + b'X' + b'\x21\x11\0\0'])
def test_a_broken_preamble_is_refused(cserve, prefix):
    server = cserve(settings={'proxy_protocol': 'v1'})
    with server.connect() as c:
        c.send(prefix + request('/'))
        try:
            assert c.response().status == 400
        except ConnectionEnded:
            pass


def test_a_stranger_may_not_speak_it(cserve):
    server = cserve(settings={'proxy_protocol': 'auto'})
    try:
        assert from_address(server, STRANGER, V1 + request('/')).status == 400
    except (ConnectionEnded, ConnectionResetError):
        pass
    assert seen(server, STRANGER)['REMOTE_ADDR'] == STRANGER
