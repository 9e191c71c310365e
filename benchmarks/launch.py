"""Starts a server that has no command line of its own: launch.py SERVER PORT MODULE:CALLABLE WORKERS ACCESS_LOG [log]

Each is set up as its documentation advises for speed, with what all the others have: kept-alive connections, a long backlog, no access log
unless asked for."""
import importlib
import os
import sys
from pathlib import Path


def load(spec):
    module, name = spec.split(':')
    return getattr(importlib.import_module(module), name)


def fork_and_run(workers, run):
    """Pre-fork, for those that leave it to the user; run() never returns."""
    if workers == 1:
        run()
    for _ in range(workers):
        if os.fork() == 0:
            run()
            os._exit(0)
    while True:
        os.wait()


def bjoern(port, spec, workers, log):
    import bjoern
    sock = bjoern.bind_and_listen('127.0.0.1', port)
    app = load(spec)
    fork_and_run(workers, lambda: bjoern.server_run(sock, app))


def fastwsgi(port, spec, workers, log):
    import fastwsgi
    fastwsgi.run(load(spec), host='127.0.0.1', port=port, loglevel=3, workers=workers)


def meinheld(port, spec, workers, log):
    import meinheld.server
    meinheld.server.set_access_logger(None)
    meinheld.server.set_keepalive(75)
    meinheld.server.set_backlog(2048)
    meinheld.server.listen(('127.0.0.1', port))
    app = load(spec)
    fork_and_run(workers, lambda: meinheld.server.run(app))


def waitress(port, spec, workers, log):
    import waitress
    waitress.serve(load(spec), host='127.0.0.1', port=port, threads=4, backlog=1024, connection_limit=2000, _quiet=True)


def cheroot(port, spec, workers, log):
    from cheroot.wsgi import Server
    server = Server(('127.0.0.1', port), load(spec), numthreads=10, request_queue_size=1024)
    server.keep_alive_conn_limit = 1000
    server.start()


APACHE = '''
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/errors.log
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
StartServers {workers}
ServerLimit {workers}
ThreadsPerChild 8
ThreadLimit 64
MaxRequestWorkers {threads}
AsyncRequestWorkerFactor 64
MinSpareThreads 1
MaxSpareThreads {threads}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 75
WSGIPythonPath {path}
WSGIScriptAlias / {folder}/app.wsgi
WSGIApplicationGroup %{{GLOBAL}}
{log}
<Directory {folder}>
Require all granted
</Directory>
'''


def mod_wsgi(port, spec, workers, log, *with_log):
    """Embedded in Apache's own processes, 8 threads each."""
    folder = Path(log).parent
    module, name = spec.split(':')
    (folder / 'app.wsgi').write_text('from %s import %s as application\n' % (module, name))
    (folder / 'apache.conf').write_text(APACHE.format(
        folder=folder, port=port, workers=workers, threads=8 * workers, path=os.environ['PYTHONPATH'],
        log='LogFormat "%%h %%l %%u %%t \\"%%r\\" %%>s %%b \\"%%{Referer}i\\" \\"%%{User-Agent}i\\"" combined\nCustomLog %s combined' % log
        if with_log else ''))
    os.execv('/usr/sbin/apache2', ['apache2', '-DFOREGROUND', '-f', str(folder / 'apache.conf')])


if __name__ == '__main__':
    # This folder would come before the servers' own packages.
    sys.path.pop(0)
    server, port, spec, workers, log, *more = sys.argv[1:]
    globals()[server](int(port), spec, int(workers), log, *more)
