"""The application behind benchmarks/answers.py: each path shows one thing that a server does or does not do."""
import threading
import time

counter = {'thread': None, 'ticks': 0}


def tick():
    while True:
        time.sleep(0.001)
        counter['ticks'] += 1


def chunks():
    yield b'first'
    time.sleep(0.3)
    yield b'last'


def app(environ, start_response):
    path, fields = environ['PATH_INFO'], [('Content-Type', 'text/plain')]
    if path == '/chunks':
        start_response('200 OK', fields)
        return chunks()
    body = b'Hello, World!'
    if path == '/thread' and not counter['thread']:
        counter['thread'] = threading.Thread(target=tick, daemon=True)
        counter['thread'].start()
    elif path == '/ticks':
        body = b'%d' % counter['ticks']
    elif path == '/split':
        fields.append(('X-Name', 'value\r\nInjected: yes'))
    elif path == '/wrapper':
        body = b'yes' if environ.get('wsgi.file_wrapper') else b'no'
    elif path == '/body':
        length = environ.get('CONTENT_LENGTH')
        body = environ['wsgi.input'].read(int(length)) if length else environ['wsgi.input'].read()
    elif path == '/slow':
        time.sleep(0.3)
    fields.append(('Content-Length', str(len(body))))
    start_response('200 OK', fields)
    return [body]
