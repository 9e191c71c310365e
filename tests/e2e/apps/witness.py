"""Says in JSON what it was called with, and remembers the calls of each connection."""
import json

calls = {}
NAMES = {'method': 'REQUEST_METHOD', 'path': 'PATH_INFO', 'query': 'QUERY_STRING', 'target': 'RAW_URI', 'scheme': 'wsgi.url_scheme'}


def application(environ, start_response):
    body = environ['wsgi.input'].read()
    if environ['PATH_INFO'] == '/calls-of':
        seen = calls.pop(environ['QUERY_STRING'], [])
    else:
        calls.setdefault(environ.get('REMOTE_PORT', ''), []).append(environ['PATH_INFO'])
        seen = {k: v for k, v in environ.items() if isinstance(v, str)}
        seen.update({short: environ.get(name) for short, name in NAMES.items()})
        seen['body'] = body.decode('latin-1')
        seen['wsgi.input_terminated'] = str(environ.get('wsgi.input_terminated', False)).lower()
    data = json.dumps(seen).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(data))), ('X-App', 'called')])
    return [data]
