"""The benchmarks themselves: their arithmetic, the gate that must be able to fail, and a short run of the real thing."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get('CSERVE') or ROOT / 'build' / 'cserve')
sys.path.insert(0, str(ROOT / 'benchmarks'))

import answers  # noqa: E402
import check  # noqa: E402
import counts  # noqa: E402
import http1  # noqa: E402
import report  # noqa: E402
import results  # noqa: E402
import scenarios  # noqa: E402
import servers  # noqa: E402
from processes import free_ports  # noqa: E402

CALLGRIND = '''events: Ir
fn=(1) _PyEval_EvalFrameDefault
0 100
cfn=(2) malloc
calls=7 0
0 700
fn=(3) conn_read
0 20
cfn=(2)
calls=3 0
0 300
cfn=(4) memcpy
calls=9 0
0 90
fn=(2)
0 50
ob=(5) /opt/lib/libpython3.13.so.1.0
fn=(6) 0x00000000048d63c8
0 30
cob=(7) /lib/libc.so.6
cfn=(2)
calls=2 0
0 10

totals: 1210
'''


def test_callgrind_is_read_with_the_callers_of_malloc():
    total, calls = counts.parse_callgrind(CALLGRIND)
    assert total == 1210
    assert calls == {('_PyEval_EvalFrameDefault', 'malloc'): 7, ('conn_read', 'malloc'): 3, ('libpython3.13.so.1.0', 'malloc'): 2}
    assert counts.is_python('_PyEval_EvalFrameDefault') and counts.is_python('libpython3.13.so.1.0') and not counts.is_python('conn_read')


def test_calls_of_the_start_cancel_out():
    assert counts.per_request({'read': 500, 'mmap': 90}, 100, {'read': 1400, 'mmap': 90}, 1000) == {'read': 1.0}


def test_a_ratio_is_the_median_of_those_within_a_round():
    # In the second round the machine was three times as slow, for both.
    server = dict(rounds=[dict(cpu_us=11, requests=9), dict(cpu_us=36, requests=9), dict(cpu_us=13, requests=9)])
    floor = dict(rounds=[dict(cpu_us=10, requests=9), dict(cpu_us=30, requests=9), dict(cpu_us=10, requests=9)])
    assert results.ratio(server, floor) == pytest.approx(1.2)
    assert results.difference(server, floor) == 3
    assert results.ratio(server, None) is None


@pytest.mark.parametrize('value, record, bound, is_good', [
    (5900, {}, 6000, True),
    (6001, {}, 6000, False),
    (5900, {'x': 5800}, 6000, True),
    (5900, {'x': 5700}, 6000, False),
    (5000, {'x': 5900}, 6000, True),
    (9999, {}, None, True),
])
def test_gate(value, record, bound, is_good, capsys):
    gate = check.Gate(record)
    gate.hold('x', value, bound, is_recorded=True)
    assert (gate.failed == 0) == is_good
    assert ('FAILED' in capsys.readouterr().out) == (not is_good)


def test_gate_fails_for_each_kind_of_cost(capsys):
    good = {('instructions', n): dict(instructions=5000, mallocs={('PyObject_Malloc', 'malloc'): 1.0}) for n in check.INSTRUCTIONS}
    good.update({('calls', n): dict(recvfrom=1.0, sendto=1.0, epoll_wait=1.0) for n in check.CALLS})
    good.update({('load', n): dict(recvfrom=1.0, sendto=1.0) for n in check.CALLS_UNDER_LOAD})
    good.update({('faults', n): 0.0 for n in check.KEPT_ALIVE})
    bad = {
        ('instructions', 'hello'): dict(instructions=5000, mallocs={('conn_read', 'malloc'): 1.0}),
        ('instructions', 'browser'): dict(instructions=22600, mallocs={}),
        ('calls', 'hello'): dict(recvfrom=1.0, sendto=1.0, epoll_ctl=0.5),
        ('calls', 'browser'): dict(recvfrom=2.0, sendto=1.0, epoll_wait=1.0),
        ('calls', 'close'): dict(accept4=1.0, recvfrom=1.0, sendto=2.0, close=1.0, epoll_wait=1.0),
        ('load', 'hello'): dict(recvfrom=2.0, sendto=1.0),
        ('faults', 'browser'): 0.5,
    }
    gate = check.Gate({})
    check.judge(good, gate)
    assert gate.failed == 0 and gate.passed > 8
    for key, value in bad.items():
        gate = check.Gate({})
        check.judge({**good, key: value}, gate)
        assert gate.failed == 1, key


@pytest.mark.parametrize('name', scenarios.SCENARIOS)
def test_scenario_names_an_application_and_sends_a_whole_request(name):
    scenario = scenarios.SCENARIOS[name]
    module, function = scenario.app.split(':')
    source = (ROOT / 'benchmarks/apps' / (module + '.py')).read_text()
    assert 'def %s(' % function in source or '\n%s = ' % function in source
    head, _, body = scenarios.raw_request(scenario).partition(b'\r\n\r\n')
    assert (b'Content-Length: %d' % len(body) in head) == bool(body)
    assert scenario.kind in ('wrk', 'closed', 'open', 'startup', 'memory') and scenario.beside in ('', 'log', 'idle')


def test_chunks_are_joined():
    assert http1.Answer(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n').content == b'abcde'


def test_cserve_leaves_nothing_out():
    """What the report says of others, it must not have to say of us."""
    seen = answers.look(servers.cserve(BINARY), free_ports())['cserve']
    assert set(seen) == set(answers.PROBES)
    assert not [(title, told) for title, told in seen.items() if '**' in told or told == 'did not start']


def run(tmp_path, *arguments):
    python = os.environ.get('PYTHON', '/usr/bin/python3')
    return subprocess.run([sys.executable, '-B', ROOT / 'benchmarks/run.py', '--binary', BINARY, '--floors', tmp_path, '--python', python,
                           '--venv', tmp_path, '--results', tmp_path / 'results.json', *arguments], capture_output=True, text=True)


@pytest.mark.skipif(not shutil.which('wrk'), reason='wrk is not installed')
def test_measures_and_reports(tmp_path):
    done = run(tmp_path, 'measure', '--servers', 'cserve', '--scenarios', 'hello,post,access_log,startup', '--rounds', '1')
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / 'results.json').read_text())['scenarios']
    assert set(told) == {'hello', 'post', 'access_log', 'startup'}
    assert set(told['access_log']['servers']) == {'cserve', 'cserve +log'}
    for name in ('hello', 'post'):
        first = told[name]['servers']['cserve']['rounds'][0]
        assert first['requests'] > 0 and first['failed'] == 0 and first['cpu_us'] > 0, first
    pytest.importorskip('matplotlib')
    done = run(tmp_path, 'report', '--folder', tmp_path / 'report')
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / 'report').iterdir()} == {'README.md', 'results.json', 'cpu.svg', 'latency.svg'}
    text = (tmp_path / 'report/README.md').read_text()
    assert '### post: 1 KB of JSON by POST' in text and '`make bench SCENARIOS=post ROUNDS=1 SECONDS=1`' in text
    assert 'one interleaved run' in text and '-b 127.0.0.1:{port} -w {workers} {app}' in text
    assert set(told['startup']['servers']['cserve']['rounds'][0]) == {'ready_ms', 'preload_ready_ms'}


def test_the_report_says_where_a_goal_is_missed():
    def told(**figures):
        return dict(rounds=[figures])
    scenario = {'gen10': dict(servers={'floor': told(cpu_us=10, p50_us=1000), 'cserve': told(cpu_us=11, p50_us=1900),
                                       'other': told(cpu_us=9, p50_us=44000)}),
                'access_log': dict(servers={'cserve': told(cpu_us=10), 'cserve +log': told(cpu_us=10.5)}),
                'memory': dict(servers={'cserve': told(preload_pss_kb=44 * 1024)})}
    text = '\n'.join(report.goals(dict(scenarios=scenario)))
    assert 'misses 1 of these 4: CPU ÷ floor, generator of 10 chunks of 1 KB, no length (1.10, not 1.05).' in text
    assert '| 1.10 | 1.05 | **no** | other 0.90 |' in text and '| 1.90 | 2.00 | yes | other 44.00, floor 1.00 |' in text
    scenario['gen10']['servers']['cserve'] = told(cpu_us=10, p50_us=1900)
    assert 'It is there in all of them.' in '\n'.join(report.goals(dict(scenarios=scenario)))


def test_a_scenario_measured_again_keeps_nothing_of_the_run_before(tmp_path):
    data = results.read(tmp_path / 'none')
    for name in ('a', 'b'):
        results.merge(data, 'startup', scenarios.SCENARIOS['startup'], {name: dict(rounds=[])}, 1, 1, 0.5)
    assert set(data['scenarios']['startup']['servers']) == {'b'}


def test_a_name_that_does_not_exist_is_said(tmp_path):
    done = run(tmp_path, 'measure', '--servers', 'cserve', '--scenarios', 'helo')
    assert done.returncode != 0 and 'no such scenario: helo' in done.stderr
