"""Error log, access log, and what applications print."""
import base64
import os
import re
import signal
import threading
import time

import pytest

from support.wait import SLOW, until

LINE = re.compile(r'\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4}\] \[(master|template|worker \d+) (\d+)\] \[(debug|info|warning|error|critical)\] .+')


# ---- error log ----

@pytest.mark.core
def test_every_line_has_time_level_process_and_pid(cserve):
    server = cserve(workers=2, settings={'loglevel': 'debug'})
    server.get('/')
    server.signal(signal.SIGHUP)
    server.wait_for_log('reloaded')
    server.stop()
    lines = server.log().splitlines()
    assert lines and all(LINE.fullmatch(line) for line in lines), [line for line in lines if not LINE.fullmatch(line)]
    pids = {int(LINE.fullmatch(line).group(2)) for line in lines}
    assert server.process.pid in pids


def test_levels_below_the_setting_are_left_out(cserve):
    server = cserve(settings={'loglevel': 'warning'}, wait=False)
    until(lambda: server.workers(), 'a worker')
    until(lambda: server.is_running() and _answers(server), 'an answer')
    server.stop()
    assert not server.log_lines(level='info') and not server.log_lines(level='debug')


def _answers(server):
    try:
        return server.get('/').status == 200
    except OSError:
        return False


def test_an_exception_is_a_500_with_its_traceback_in_the_log(cserve):
    server = cserve()
    with server.connect() as c:
        assert c.get('/error').status == 500
    server.wait_for_log(r'\[worker 1 \d+\] \[error\][^\n]*GET /error')
    server.wait_for_log(r'Traceback \(most recent call last\):\n(.*\n)*? *ValueError: the application says no')
    assert server.get('/').status == 200


def test_text_of_clients_cannot_forge_lines(cserve):
    server = cserve(app='''
def application(environ, start_response):
    raise ValueError('first\\n[2026-01-01 00:00:00.000 +0000] [master 1] [info] forged')
''', settings={'accesslog': '-'})
    server.get('/%0d%0aforged', 'User-Agent: a" 200 "b', 'Referer: \\x22')
    server.wait_for_log('Traceback')
    assert not re.search(r'^\[2026-01-01', server.log(), re.M)
    until(lambda: server.stdout().count('\n') == 1, server.stdout)
    assert server.stdout().count('"') == 6, server.stdout()


def test_wsgi_errors_goes_to_the_error_log(cserve):
    server = cserve(settings={'errorlog': 'error.txt'}, wait=False)
    log = server.directory / 'error.txt'
    until(lambda: log.exists() and 'is ready' in log.read_text(), 'a ready worker')
    server.get('/log?text=a-word-to-the-log')
    until(lambda: 'a-word-to-the-log' in log.read_text(), 'the word')


def test_lines_of_many_writers_are_whole(cserve):
    server = cserve(workers=4, app='''
def application(environ, start_response):
    for i in range(50):
        environ['wsgi.errors'].write('BEGIN' + 'x' * 300 + 'END\\n')
    start_response('200 OK', [])
    return [b'ok']
''')
    threads = [threading.Thread(target=lambda: [server.get('/') for _ in range(10)]) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30 * SLOW)
    until(lambda: server.log().count('END\n') >= 3000, 'all lines')
    whole = re.findall(r'BEGINx{300}END$', server.log(), re.M)
    assert len(whole) == 3000 == server.log().count('BEGIN')


def test_capture_output_puts_prints_into_the_error_log(cserve):
    server = cserve(settings={'capture_output': True, 'errorlog': 'error.txt'}, wait=False)
    log = server.directory / 'error.txt'
    until(lambda: log.exists() and 'is ready' in log.read_text(), 'a ready worker')
    server.get('/print?text=printed-by-the-application')
    until(lambda: 'printed-by-the-application' in log.read_text(), 'the text')
    assert 'printed-by-the-application' not in server.stdout() + server.log()


def test_without_capture_output_prints_go_where_they_always_went(cserve):
    server = cserve()
    server.get('/print?text=printed-by-the-application')
    until(lambda: 'printed-by-the-application' in server.stdout(), 'the text')
    assert 'printed-by-the-application' not in server.log()


def test_capture_output_catches_programs_too(cserve):
    server = cserve(settings={'capture_output': True}, app='''
import os
def application(environ, start_response):
    os.system('echo from a child')
    os.write(2, b'from descriptor two\\n')
    start_response('200 OK', [])
    return [b'ok']
''')
    server.get('/')
    server.wait_for_log('from a child')
    server.wait_for_log('from descriptor two')
    assert server.stdout() == ''


def test_capture_output_survives_a_rotation(cserve):
    server = cserve(settings={'capture_output': True, 'errorlog': 'error.txt'}, wait=False)
    log = server.directory / 'error.txt'
    until(lambda: log.exists() and 'is ready' in log.read_text(), 'a ready worker')
    log.rename(log.with_suffix('.1'))
    server.signal(signal.SIGUSR1)
    until(log.exists, 'the new file')

    def printed():
        server.get('/print?text=after-the-rotation')
        return 'after-the-rotation' in log.read_text()
    until(printed, 'the text in the new file')


# ---- access log ----

def access_lines(server, count):
    until(lambda: server.stdout().count('\n') >= count, lambda: f'{count} lines in:\n{server.stdout()}')
    return server.stdout().splitlines()


@pytest.mark.core
def test_combined_is_gunicorns_format(cserve):
    server = cserve(settings={'accesslog': '-'})
    server.get('/environ?a=b', 'Referer: http://from/', 'User-Agent: me/1')
    line, = access_lines(server, 1)
    assert re.fullmatch(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /environ\?a=b HTTP/1\.1" 200 \d+ "http://from/" "me/1"', line), line


def test_missing_values_are_dashes(cserve):
    server = cserve(settings={'accesslog': '-'})
    server.get('/status?code=204')
    line, = access_lines(server, 1)
    assert line.endswith('" 204 - "-" "-"'), line


ATOMS = {
    '%(h)s': r'127\.0\.0\.1', '%(l)s': '-', '%(u)s': 'wanda', '%(t)s': r'\[.*\]', '%(r)s': r'POST /echo\?q=1 HTTP/1\.1', '%(m)s': 'POST',
    '%(U)s': '/echo', '%(q)s': 'q=1', '%(H)s': r'HTTP/1\.1', '%(s)s': '200', '%(B)s': '7', '%(b)s': '7', '%(f)s': 'http://from/', '%(a)s': 'me/1',
    '%(T)s': '0', '%(M)s': r'\d+', '%(D)s': r'\d+', '%(L)s': r'0\.\d{6}', '%(p)s': r'<?\d+>?', '%({x-in}i)s': 'in', '%({X-None}i)s': '-',
    '%({content-type}o)s': 'text/plain; charset=utf-8', '%({REQUEST_METHOD}e)s': 'POST', '%({wsgi.url_scheme}e)s': 'http', '%%': '%',
}


def test_every_atom(cserve):
    server = cserve(settings={'accesslog': '-'}, args=['--access-logformat', ' | '.join(ATOMS)])
    user = base64.b64encode(b'wanda:secret').decode()
    server.get('/echo?q=1', 'Referer: http://from/', 'User-Agent: me/1', 'X-In: in', f'Authorization: Basic {user}', method='POST', body=b'7 bytes')
    line, = access_lines(server, 1)
    for (atom, pattern), value in zip(ATOMS.items(), line.split(' | ')):
        assert re.fullmatch(pattern, value), f'{atom} is {value!r}'
    assert 'secret' not in line


def test_the_pid_is_the_workers_and_the_time_is_the_applications(cserve):
    server = cserve(settings={'accesslog': '-', 'access_log_format': '%(p)s %(D)s %(M)s %(L)s %(T)s'})
    server.get('/sleep?s=1.1')
    pid, micro, milli, seconds, whole = access_lines(server, 1)[0].split()
    assert int(pid.strip('<>')) in server.workers()
    assert 1.1e6 <= int(micro) < 1.1e6 + 2e6 * SLOW and 1100 <= int(milli) and 1.1 <= float(seconds) and int(whole) >= 1


def test_bytes_are_those_of_the_body_that_were_sent(cserve):
    server = cserve(settings={'accesslog': '-', 'access_log_format': '%(r)s %(B)s'})
    server.get('/stream?n=10&size=100')
    server.get('/', method='HEAD')
    assert [line.rsplit(' ', 1)[1] for line in access_lines(server, 2)] == ['1000', '0']


def test_refused_requests_are_in_the_error_log_with_the_reason(cserve):
    server = cserve()
    server.raw(b'GET / HTTP/1.1\r\n\r\n')
    server.wait_for_log(r"\[worker 1 \d+\] \[info\] [^\n]*127\.0\.0\.1[^\n]*400[^\n]*Host")
    server.raw(b'GET / HTTP/1.1\r\nHost: a\r\nX-Long-One: ' + b'y' * 9000 + b'\r\n\r\n')
    server.wait_for_log(r'431[^\n]*limit_request_field_size[^\n]*X-Long-One')
    server.raw(b'GET /' + b'y' * 9000 + b' HTTP/1.1\r\nHost: a\r\n\r\n')
    server.wait_for_log(r'414[^\n]*limit_request_line')


def test_every_request_has_its_line_also_when_the_worker_is_killed(cserve):
    """Gathering lines must not lose them: at most a second of delay, and none lost by a crash."""
    server = cserve(settings={'accesslog': '-', 'access_log_format': '%(U)s'})
    with server.connect() as c:
        for i in range(300):
            assert c.get(f'/n{i}').status == 404
        time.sleep(1.2)  # the longest that a line may take
        server.signal(signal.SIGKILL, server.workers()[0])
    assert access_lines(server, 300)[:300] == [f'/n{i}' for i in range(300)]


def test_lines_come_within_a_second(cserve):
    server = cserve(settings={'accesslog': '-'})
    server.get('/')
    begin = time.monotonic()
    access_lines(server, 1)
    assert time.monotonic() - begin < 1.5 * SLOW


def test_access_lines_of_many_workers_are_whole(cserve):
    server = cserve(workers=3, settings={'accesslog': 'access.txt', 'access_log_format': 'BEGIN %({x}i)s END'})
    path = server.directory / 'access.txt'

    def client():
        with server.connect() as c:
            for _ in range(200):
                c.get('/', 'X: ' + 'y' * 200)
    threads = [threading.Thread(target=client) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOW)
    until(lambda: path.read_text().count('\n') >= 1200, 'all lines')
    assert set(path.read_text().splitlines()) == {'BEGIN ' + 'y' * 200 + ' END'}


def test_an_unknown_atom_is_an_error_of_the_settings(cserve):
    server = cserve(start=False, settings={'accesslog': '-', 'access_log_format': '%(nonsense)s'})
    assert server.run_to_end() == 1
    assert 'nonsense' in server.log()


# ---- logs that do not take lines ----

def _fill_and_serve(server, count=300):
    begin = time.monotonic()
    with server.connect() as c:
        for _ in range(count):
            assert c.get('/log?text=' + 'x' * 1000).status == 200
    assert time.monotonic() - begin < 10 * SLOW, 'requests wait for the log'


def test_a_log_reader_that_is_stuck_never_stops_requests(cserve):
    reader, writer = os.pipe()
    server = cserve(stderr=writer, wait=False)
    os.close(writer)
    seen = b''
    while b'is ready' not in seen:
        seen += os.read(reader, 65536)
    _fill_and_serve(server)
    os.set_blocking(reader, False)

    def read_all():
        nonlocal seen
        try:
            while True:
                data = os.read(reader, 65536)
                if not data:
                    break
                seen += data
        except BlockingIOError:
            pass
        return re.search(rb'\d+ lines lost', seen)

    def lost_is_told():
        server.get('/log?text=again')
        return read_all()
    read_all()
    until(lost_is_told, 'the count of lost lines', 5 * SLOW)
    server.stop()
    os.close(reader)


def test_a_log_reader_that_is_gone_never_stops_requests(cserve):
    reader, writer = os.pipe()
    server = cserve(stderr=writer, wait=False)
    os.close(writer)
    seen = b''
    while b'is ready' not in seen:
        seen += os.read(reader, 65536)
    os.close(reader)
    pids = server.workers()
    _fill_and_serve(server)
    assert server.workers() == pids
    server.signal(signal.SIGHUP)
    server.wait_workers(1, without=pids)
    assert server.get('/').status == 200
    server.stop()


def test_a_full_log_disk_never_stops_requests(cserve):
    server = cserve(settings={'errorlog': '/dev/full', 'accesslog': '/dev/full'}, wait=False)
    until(lambda: _answers(server), 'an answer')
    pids = server.workers()
    _fill_and_serve(server)
    server.signal(signal.SIGKILL, pids[0])
    server.wait_workers(1, without=pids)
    assert until(lambda: _answers(server), 'an answer')


def test_a_stuck_reader_of_the_access_log_never_stops_requests(cserve):
    server = cserve(start=False)
    fifo = server.directory / 'access.fifo'
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    server.settings['accesslog'] = str(fifo)
    server.start()
    begin = time.monotonic()
    with server.connect() as c:
        for _ in range(1500):
            assert c.get('/' + 'a' * 200).status == 404
    assert time.monotonic() - begin < 10 * SLOW
    os.close(reader)
    assert server.get('/').status == 200


# ---- development ----

def test_reload_setting_follows_the_files(cserve):
    text = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"
    server = cserve(app=text % 'one', settings={'reload': True})
    assert server.get('/').body == b'one'
    server.write_app(text % 'twotwo')
    until(lambda: server.get('/').body == b'twotwo', 'the new code', 20 * SLOW)
    server.write_app('def application(:\n')
    server.wait_for_log('SyntaxError', deadline=20 * SLOW)
    assert server.get('/').body == b'twotwo'
    server.write_app(text % 'three')
    until(lambda: server.get('/').body == b'three', 'the mended code', 20 * SLOW)


@pytest.mark.parametrize('preload', [False, True])
def test_reload_follows_modules_that_are_imported_from_elsewhere_and_late(cserve, preload, tmp_path):
    app = f"""
import sys
sys.path.append({str(tmp_path)!r})
import words
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/late':
        from package import late
        return [late.words]
    return [words.words]
"""
    server = cserve(app=app, settings={'reload': True, 'preload_app': preload}, start=False)
    words, late = tmp_path / 'words.py', tmp_path / 'package' / 'late.py'
    late.parent.mkdir()
    words.write_text("words = b'one'\n")
    late.write_text("words = b'two'\n")
    server.start()
    assert server.get('/').body == b'one' and server.get('/late').body == b'two'

    def is_noticed():
        # A worker tells of what was imported after it has answered, perhaps after the first change.
        late.write_text("words = b'another two'\n")
        return server.get('/late').body == b'another two'
    until(is_noticed, 'the new late words', 20 * SLOW, interval=1)
    words.with_suffix('.new').write_text("words = (\n")
    words.with_suffix('.new').replace(words)
    server.wait_for_log('SyntaxError', deadline=20 * SLOW)
    assert server.get('/').body == b'one'
    words.write_text("words = b'another one'\n")
    until(lambda: server.get('/').body == b'another one', 'the new words', 20 * SLOW)


def test_reload_extra_files(cserve):
    server = cserve(start=False, app='''
with open('words.txt') as f:
    words = f.read().encode()
def application(environ, start_response):
    start_response('200 OK', [])
    return [words]
''', settings={'reload': True})
    words = server.app_directory / 'words.txt'
    words.write_text('old words')
    server.settings['reload_extra_files'] = str(server.app_directory / '*.txt')
    server.start()
    assert server.get('/').body == b'old words'
    words.write_text('new words')
    until(lambda: server.get('/').body == b'new words', 'the new words', 20 * SLOW)


# ---- commands of the arbiter ----

def test_commands_run_and_are_not_waited_for(cserve):
    server = cserve(start=False)
    log = server.directory / 'commands'
    for name in ('exec_when_ready', 'exec_on_reload', 'exec_on_worker_exit', 'exec_on_exit'):
        server.settings[name] = f'echo {name} $EVENT $MASTER_PID >> {log}; sleep 1'
    server.start()

    def ran(text):
        return log.exists() and text in log.read_text()
    until(lambda: ran('exec_when_ready when_ready'), 'exec_when_ready')
    begin = time.monotonic()
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_workers(1, without=old)
    assert time.monotonic() - begin < 1 + 2 * SLOW
    until(lambda: ran('exec_on_reload'), 'exec_on_reload')
    until(lambda: ran('exec_on_worker_exit'), 'exec_on_worker_exit')
    server.stop()
    until(lambda: ran('exec_on_exit exit'), 'exec_on_exit')
    assert str(server.pid) in log.read_text()


def test_a_worker_exit_command_learns_who_died_and_why(cserve):
    server = cserve(start=False)
    out = server.directory / 'deaths'
    server.settings['exec_on_worker_exit'] = f'echo $WORKER $WORKER_PID $CAUSE >> {out}'
    server.start()
    pid = server.workers()[0]
    server.signal(signal.SIGKILL, pid)
    until(lambda: out.exists() and str(pid) in out.read_text() and 'SIGKILL' in out.read_text(), lambda: out.exists() and out.read_text())


