"""A WSGI application without a framework: a page that shows what the server passes to it."""
from html import escape

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>cserve works</title></head>
<body style="font-family: sans-serif; max-width: 60em; margin: 2em auto">
<h1>cserve works</h1>
<p>This page comes from <code>examples/hello/wsgi.py</code>. Below is the environ of your request.</p>
<table>{rows}</table>
</body>
</html>
"""


def app(environ, start_response):
    if environ['PATH_INFO'] != '/':
        start_response('404 Not Found', [('Content-Type', 'text/plain; charset=utf-8')])
        return [b'There is nothing here but /.\n']
    rows = ''.join(f'<tr><td><code>{escape(key)}</code></td><td><code>{escape(repr(environ[key]))}</code></td></tr>\n'
                   for key in sorted(environ))
    start_response('200 OK', [('Content-Type', 'text/html; charset=utf-8')])
    return [PAGE.format(rows=rows).encode()]
