"""Clients that people use, as their distribution ships them."""
import re
import shutil
import subprocess

import pytest

from support.wait import SLOW

curl = pytest.mark.skipif(not shutil.which('curl'), reason='curl is not installed')


def run(*command, check=True):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60 * SLOW, check=check)


def ask(*arguments):
    """The body, and the figures after it."""
    return run('curl', '-sS', '--max-time', '30', '-w', ' %{http_code} %{http_version} %{num_connects}', *arguments).stdout


@curl
@pytest.mark.parametrize('arguments, answer', [
    ([], '200 1.1 1'), (['--http1.0'], '200 1.1 1'), (['-I'], '200 1.1 1'), (['--http2'], '200 1.1 1'), (['-X', 'PURGE'], '200 1.1 1'),
    (['-H', 'Connection: close'], '200 1.1 1'), (['-r', '0-1'], '200 1.1 1'), (['-H', 'Host:'], '400 1.1 1'), (['-H', 'Expect: tea'], '417 1.1 1'),
], ids=lambda x: ' '.join(x) or 'plain' if isinstance(x, list) else None)
def test_curl(cserve, arguments, answer):
    assert ask(*arguments, cserve().url + '/').endswith(answer)


@curl
def test_curl_keeps_its_connection(cserve):
    server = cserve()
    figures = [line[-1] for line in re.findall(r'200 1.1 \d', ask(*[server.url + f'/?{i}' for i in range(5)]))]
    assert figures[0] == '1' and figures[-1] == '0'


@curl
@pytest.mark.parametrize('how', [[], ['-H', 'Transfer-Encoding: chunked'], ['-H', 'Expect: 100-continue'], ['--http1.0'], ['--limit-rate', '4M']],
                         ids=lambda how: how[-1] if how else 'plain')
def test_curl_uploads(cserve, tmp_path, how):
    import hashlib
    file = tmp_path / 'file'
    file.write_bytes(bytes(range(256)) * 8000)
    answer = ask(*how, '-T', str(file), '-X', 'POST', cserve().url + '/digest')
    assert answer.startswith(f'{256 * 8000} {hashlib.sha256(file.read_bytes()).hexdigest()}')


@curl
def test_curl_that_speaks_http2_at_once_is_told_the_version(cserve):
    server = cserve()
    assert run('curl', '-sS', '--max-time', '30', '--http2-prior-knowledge', server.url + '/', check=False).returncode != 0
    server.wait_for_log('refused with 505')


@curl
def test_curl_with_the_proxy_protocol(cserve):
    server = cserve(settings={'proxy_protocol': 'v1', 'proxy_allow_ips': '127.0.0.1'})
    assert ask('--haproxy-protocol', server.url + '/').endswith('200 1.1 1')


@pytest.mark.skipif(not shutil.which('h2load'), reason='nghttp2-client is not installed')
def test_h2load_in_http1(cserve):
    output = run('h2load', '--h1', '-n', '2000', '-c', '20', '-m', '4', cserve(workers=2).url + '/').stdout
    assert '2000 succeeded, 0 failed, 0 errored, 0 timeout' in output
    assert 'status codes: 2000 2xx' in output
