"""Who takes part: the floors, cserve, and every peer that this machine has, with the commands that start them."""
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
UWSGI = '/usr/bin/uwsgi'
APACHE = ('/usr/sbin/apache2', '/usr/lib/apache2/modules/mod_wsgi.so')


@dataclass
class Spec:
    """In the commands {port}, {app}, {workers} and {log} are filled in, for the floors {kernel} and {python} too."""
    command: str
    version: str
    preload: str = ''           # the application is imported before the workers are forked
    log: str = ''               # with an access log to {log}
    is_floor: bool = False
    is_preloaded: bool = False  # whatever the command
    environment: dict = field(default_factory=dict)


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ''


def python_versions(python, modules):
    """Of those that it can import."""
    code = ('import importlib.metadata as m, sys\n'
            'for name in sys.argv[1:]:\n'
            '    try: __import__(name); print(name, m.version(name))\n'
            '    except Exception: pass\n')
    return dict(line.split() for line in output(python, '-c', code, *modules).splitlines())


def floors(folder, python):
    home = output(python, '-c', 'import sys; print(sys.base_prefix)')
    found = {}
    if (folder / 'kernel').exists():
        found['kernel'] = Spec('%s -p {port} {kernel} -w {workers}' % (folder / 'kernel'), '', is_floor=True)
    if (folder / 'python').exists():
        found['floor'] = Spec('%s -p {port} -a {app} {python} -w {workers}' % (folder / 'python'), '', is_floor=True, is_preloaded=True,
                              environment={'PYTHONHOME': home})
    return found


def cserve(binary):
    command = '%s -b 127.0.0.1:{port} -w {workers} ' % binary
    return {'cserve': Spec(command + '{app}', output(str(binary), '--version').split('\n')[0].replace('cserve ', ''),
                           command + '--preload {app}', command + '--access-logfile {log} {app}')}


def launched(python, name, version, **more):
    """Those without a command line of their own."""
    return Spec('%s %s/launch.py %s {port} {app} {workers} {log}' % (python, HERE, name), version, **more)


def gunicorn(python, version):
    command = python + ' -m gunicorn -b 127.0.0.1:{port} -w {workers} --backlog 2048 --log-level error '
    found = {}
    for name, options in (('gunicorn-sync', '-k sync '), ('gunicorn-gthread', '-k gthread --threads 4 --keep-alive 75 ')):
        found[name] = Spec(command + options + '{app}', version, command + options + '--preload {app}',
                           command + options + '--access-logfile {log} {app}')
    return found


def uwsgi():
    version = output(UWSGI, '--version')
    if not output(UWSGI, '--plugin', 'python3', '--python-version'):
        return {}
    command = (UWSGI + ' --plugin http,python3 --module {app} --processes {workers} --master --listen 1024 --need-app --die-on-term ')
    direct, router = '--http11-socket 127.0.0.1:{port} ', '--http 127.0.0.1:{port} --http-keepalive=75 --http-auto-chunked '
    quiet, lazy = '--disable-logging ', '--lazy-apps '
    return {'uwsgi': Spec(command + direct + quiet + lazy, version, command + direct + quiet, command + direct + lazy + '--logto {log}'),
            'uwsgi-http': Spec(command + router + quiet + lazy, version, command + router + quiet, command + router + lazy + '--logto {log}')}


def find(binary, folder, python, venv):
    """By name, in the order of the report. `python` is the interpreter that cserve and the floors embed; `venv` is made of the same."""
    own = str(venv / 'bin/python')
    peers_python = own if os.access(own, os.X_OK) else python
    has = python_versions(peers_python, ['bjoern', 'fastwsgi', 'meinheld', 'granian', 'gunicorn', 'waitress', 'cheroot'])
    found = {**floors(folder, python), **cserve(binary)}
    if 'bjoern' in has:
        found['bjoern'] = launched(peers_python, 'bjoern', has['bjoern'], is_preloaded=True)
    if 'fastwsgi' in has:
        found['fastwsgi'] = launched(peers_python, 'fastwsgi', has['fastwsgi'], is_preloaded=True)
    if 'meinheld' in has:
        found['meinheld'] = launched(peers_python, 'meinheld', has['meinheld'], is_preloaded=True)
    if 'granian' in has:
        command = (peers_python + ' -m granian --interface wsgi --host 127.0.0.1 --port {port} --workers {workers} --backlog 2048 '
                   '--log-level error ')
        found['granian'] = Spec(command + '--no-access-log {app}', has['granian'])
    if 'gunicorn' in has:
        found.update(gunicorn(peers_python, has['gunicorn']))
    if os.access(UWSGI, os.X_OK) and python == '/usr/bin/python3':
        found.update(uwsgi())
    for name in ('waitress', 'cheroot'):
        if name in has:
            found[name] = launched(peers_python, name, has[name])
    if all(map(os.path.exists, APACHE)) and python == '/usr/bin/python3':
        version = output('dpkg-query', '-W', '-f', '${Version}', 'libapache2-mod-wsgi-py3').split('-')[0]
        plain = launched(python, 'mod_wsgi', version)
        found['mod_wsgi'] = Spec(plain.command, version, log=plain.command + ' log')
    return found


def chosen(found, names):
    if names == 'all':
        return found
    unknown = [n for n in names.split(',') if n not in found]
    if unknown:
        raise SystemExit('not on this machine: %s; there are %s' % (', '.join(unknown), ', '.join(found)))
    return {n: found[n] for n in names.split(',')}


def require(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        raise SystemExit('not installed: ' + ', '.join(missing))
