"""The application that most tests talk to: what it does is in the path, how in the query."""
import ctypes
import hashlib
import json
import os
import threading
import time
import urllib.parse

CALLS = {}
_lock = threading.Lock()


def _text(start_response, body, status='200 OK', *headers):
    data = body if isinstance(body, bytes) else body.encode('utf-8')
    start_response(status, [('Content-Type', 'text/plain; charset=utf-8'), ('Content-Length', str(len(data))), *headers])
    return [data]


def _environ(environ):
    return {k: v for k, v in environ.items() if isinstance(v, (str, int, bool, tuple))}


def _stream(start_response, query):
    """n pieces of `size` bytes, with a pause between; `length=1` says how much in advance."""
    n, size, pause = int(query.get('n', 10)), int(query.get('size', 100)), float(query.get('pause', 0))
    headers = [('Content-Type', 'application/octet-stream')]
    if query.get('length'):
        headers.append(('Content-Length', str(n * size)))
    start_response('200 OK', headers)

    def pieces():
        for i in range(n):
            if pause and i:
                time.sleep(pause)
            yield bytes([97 + i % 26]) * size
    return pieces()


def _digest(environ, start_response):
    digest, length = hashlib.sha256(), 0
    while True:
        piece = environ['wsgi.input'].read(1 << 16)
        if not piece:
            break
        digest.update(piece)
        length += len(piece)
    return _text(start_response, f'{length} {digest.hexdigest()}')


def application(environ, start_response):
    path = environ['PATH_INFO']
    if 'HTTP_X_MARK' in environ:  # tells the test that this request is in the application now
        open(environ['HTTP_X_MARK'], 'w', encoding='ascii').close()
    query = dict(urllib.parse.parse_qsl(environ.get('QUERY_STRING', '')))
    if path == '/':
        return _text(start_response, 'hello')
    if path == '/pid':
        return _text(start_response, str(os.getpid()))
    if path == '/id':  # counted by the load generator
        body = environ['wsgi.input'].read()
        if query.get('s'):
            time.sleep(float(query['s']))
        return _text(start_response, f"{query.get('n')} {len(body)} {os.getpid()}")
    if path == '/environ':
        return _text(start_response, json.dumps(_environ(environ)))
    if path == '/echo':
        return _text(start_response, environ['wsgi.input'].read())
    if path == '/digest':
        return _digest(environ, start_response)
    if path == '/sleep':
        time.sleep(float(query.get('s', 1)))
        return _text(start_response, f'slept in {os.getpid()}')
    if path == '/hold':  # a call in C that keeps the GIL
        ctypes.PyDLL(None).sleep(int(query.get('s', 1)))
        return _text(start_response, 'held')
    if path == '/spin':
        end = time.monotonic() + float(query.get('s', 1))
        while time.monotonic() < end:
            pass
        return _text(start_response, 'spun')
    if path == '/stream':
        return _stream(start_response, query)
    if path == '/big':
        return _text(start_response, b'x' * int(query.get('size', 1 << 20)))
    if path == '/status':
        code = query.get('code', '200')
        if code in ('204', '304'):
            start_response(code + ' Whatever', [('X-Code', code)])
            return []
        return _text(start_response, code, code + ' Whatever')
    if path == '/error':
        raise ValueError('the application says no')
    if path == '/exit':
        os._exit(int(query.get('code', 3)))
    if path == '/print':
        print(query.get('text', 'printed'), flush=True)
        return _text(start_response, 'printed')
    if path == '/log':
        environ['wsgi.errors'].write(query.get('text', 'logged') + '\n')
        environ['wsgi.errors'].flush()
        return _text(start_response, 'logged')
    if path == '/count':
        with _lock:
            CALLS[query.get('key', '')] = CALLS.get(query.get('key', ''), 0) + 1
            return _text(start_response, str(CALLS[query.get('key', '')]))
    return _text(start_response, 'no such page', '404 Not Found')
