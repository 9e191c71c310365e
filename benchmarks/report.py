"""The Markdown report with its two pictures, from the results file. What it says of figures, it computes from them."""
import json

import results
from answers import PROBES
from scenarios import FLOORS, SCENARIOS

LATENCY_PANELS = ('queueing', 'queueing400', 'fairness', 'hello', 'hello_c1', 'gen10')


def number(value, digits=1):
    return '–' if value is None else '%.*f' % (digits, value)


def table(head, rows):
    lines = ['| ' + ' | '.join(head) + ' |', '|---|' + '---:|' * (len(head) - 1)]
    return lines + ['| ' + ' | '.join(map(str, row)) + ' |' for row in rows] + ['']


def label_of(name, versions):
    base, _, extra = name.partition(' ')
    version = versions.get(base)
    return ' '.join(filter(None, ('**cserve**' if base == 'cserve' else base, version and base not in FLOORS and version.split(' ')[0], extra)))


def load_rows(scenario, entry, versions):
    floor = entry['servers'].get('floor')
    for name, server in entry['servers'].items():
        if not server['rounds']:
            yield [label_of(name, versions), server.get('error', '')[:100].replace('|', '/')] + [''] * 10
            continue
        m = {k: results.median(server, k) for k in ('rps', 'cpu_us', 'p50_us', 'p90_us', 'p99_us', 'p999_us')}
        milli = [number(m[k] and m[k] / 1000, 2) for k in ('p50_us', 'p90_us', 'p99_us', 'p999_us')]
        yield [label_of(name, versions), number(results.ratio(server, floor), 2), number(m['cpu_us']), number(results.least(server, 'cpu_us')),
               number(m['rps'], 0), *milli, results.total(server, 'failed'), number(server.get('memory', {}).get('pss_kb', 0) / 1024)]


def difference_rows(scenario, entry, versions):
    for name, server in entry['servers'].items():
        base = entry['servers'].get(name.split(' ')[0])
        if ' ' in name and server['rounds']:
            row = [label_of(name.split(' ')[0], versions), number(results.median(base, 'cpu_us')), number(results.median(server, 'cpu_us')),
                   number(results.difference(server, base), 2), number(results.ratio(server, base), 3)]
            if 'idle' in server:
                row += ['%d of %d' % (server.get('idle_left', 0), scenario.idle),
                        number(server['idle_kb'] * 1024 / max(1, server['idle']), 0)]
            yield row


def scenario_table(name, scenario, entry, versions={}):
    lines = ['### %s: %s' % (name, scenario.title), '']
    lines += ['`make bench SCENARIOS=%s ROUNDS=%d SECONDS=%d`, %s%s%s' % (
        name, entry['rounds'], entry['seconds'], entry['when'], ', at ' + entry['commit'] if entry.get('commit') else '',
        ', load average before it %.1f' % entry['load'] if 'load' in entry else ''), '']
    if scenario.kind == 'startup':
        rows = [[label_of(n, versions), number(results.median(s, 'ready_ms'), 0), number(results.median(s, 'preload_ready_ms'), 0),
                 number(results.ratio(s, entry['servers'].get('floor'), 'preload_ready_ms'), 2)] for n, s in entry['servers'].items()]
        return lines + table(['server', 'ready after ms', 'preloaded', 'preloaded ÷ floor'], rows)
    if scenario.kind == 'memory':
        def mega(server, key):
            value = results.median(server, key)
            return number(value and value / 1024)
        rows = [[label_of(n, versions)] + [mega(s, k) for k in ('pss_kb', 'rss_kb', 'preload_pss_kb', 'preload_rss_kb')]
                for n, s in entry['servers'].items()]
        return lines + table(['server', 'PSS MB', 'RSS MB', 'preloaded PSS MB', 'preloaded RSS MB'], rows)
    if scenario.beside:
        head = ['server', 'CPU µs without', 'with', 'difference', 'ratio']
        head += ['still open', 'bytes each'] if scenario.beside == 'idle' else []
        return lines + table(head, difference_rows(scenario, entry, versions))
    head = ['server', 'CPU ÷ floor', 'CPU µs', 'least', 'req/s', 'p50 ms', 'p90', 'p99', 'p99.9', 'failed', 'PSS MB']
    return lines + table(head, load_rows(scenario, entry, versions))


def overview(data):
    """Servers down, scenarios across: CPU beside the floor."""
    chosen = [n for n, s in SCENARIOS.items() if n in data['scenarios'] and s.has_cpu and not s.beside and 'floor' not in s.without]
    names = list(dict.fromkeys(n for c in chosen for n in data['scenarios'][c]['servers'] if n not in FLOORS))
    rows = []
    for name in names:
        row = [label_of(name, data['versions'])]
        for c in chosen:
            entries = data['scenarios'][c]['servers']
            row.append(number(results.ratio(entries.get(name), entries.get('floor')), 2))
        rows.append(row)
    floor = ['floor, CPU µs'] + [number(results.median(data['scenarios'][c]['servers'].get('floor', dict(rounds=[])), 'cpu_us')) for c in chosen]
    return table(['CPU ÷ floor', *chosen], rows + [floor])


# Beside the CPU of the scenarios: what, at most, and how it follows from the servers' results and a server's name.
MORE_GOALS = {
    'gen10': [('ms to half of the answers of a generator, 64 connections on one CPU', 2.0, lambda told, n: (results.median(told[n], 'p50_us') or 0) / 1000 or None)],
    'access_log': [('µs of CPU for a line of the access log', 1.0, lambda told, n: results.difference(told.get(n + ' +log'), told[n]))],
    'idle4000': [('hello with ÷ without 4,000 idle connections', 1.05, lambda told, n: results.ratio(told.get(n + ' +idle'), told[n])),
                 ('KB of memory for an idle connection', 2.0, lambda told, n: told.get(n + ' +idle', {}).get('idle_kb', 0) / 4000 or None)],
    'startup': [('first answer of 4 preloaded Django workers ÷ floor, which imports it once', 1.1,
                 lambda told, n: results.ratio(told[n], told.get('floor'), 'preload_ready_ms'))],
    'memory': [('MB (PSS) of 4 preloaded Django workers', 45.0,
                lambda told, n: (results.median(told[n], 'preload_pss_kb') or 0) / 1024 or None)],
}


def goal_rows(data):
    for name, scenario in SCENARIOS.items():
        told = data['scenarios'].get(name, {}).get('servers', {})
        chosen = MORE_GOALS.get(name, [])
        if scenario.goal is not None:
            chosen = [('CPU ÷ floor, ' + scenario.title, scenario.goal, lambda told, n: results.ratio(told[n], told.get('floor')))] + chosen
        for title, goal, figure in chosen if 'cserve' in told else []:
            own = figure(told, 'cserve')
            others = {n: figure(told, n) for n in told if n.split(' ')[0] not in FLOORS + ('cserve',)}
            best = min((n for n in others if others[n] is not None), key=others.get, default=None)
            least = figure(told, 'floor') if 'floor' in told and '÷' not in title else None
            if own is not None:
                beside = ['%s %.2f' % (best, others[best])] if best else []
                yield title, own, goal, ', '.join(beside + (['floor %.2f' % least] if least else [])) or '–'


def goals(data):
    """Where cserve is to be, where it is, and where the best of the others is; and in a sentence, where it is not."""
    rows = list(goal_rows(data))
    missed = ['%s (%.2f, not %.2f)' % (title, own, goal) for title, own, goal, _ in rows if own > goal]
    if not rows:
        return []
    sentence = 'It misses %d of these %d: %s.' % (len(missed), len(rows), '; '.join(missed)) if missed else 'It is there in all of them.'
    return table(['', 'cserve', 'at most', 'met', 'best of the others'],
                 [[title, number(own, 2), '%.2f' % goal, 'yes' if own <= goal else '**no**', best] for title, own, goal, best in rows]) + [
        sentence, '']


def commands(data):
    """How each server was started."""
    told = data.get('commands', {})
    if not told:
        return []
    return ['## How each one is started', '', '`{kernel}` and `{python}` are the floors\' arguments for a scenario (benchmarks/scenarios.py).', '',
            '```', *('%-17s %s' % (n, ' '.join(c.split())) for n, c in told.items()), '```', '']


def what_they_do(data):
    """Probes down, servers across; the malformed requests as a list of their own."""
    names = list(data['answers'])
    rows = [[title] + [data['answers'][n].get(title, '–').split(':')[0] for n in names] for title in PROBES]
    lines = table(['', *names], rows)
    lines += ['Which malformed requests each takes (answered by 2xx or 3xx):', '']
    for name in names:
        lines.append('- %s: %s' % (name, data['answers'][name].get('takes malformed requests', '–').split(': ')[-1]))
    return lines + ['']


HEAD = '''# Benchmarks

Written by `make bench-report` from [results.json](results.json). [benchmarks/README.md](../../benchmarks/README.md) tells how it is measured and
what the figures can bear.

`floor` is a C program that receives, calls the same application through CPython's API with a prepared environ, and sends: no parsing, no
validation, no timeouts, no log. `kernel` does not even call an application.

The figures are ratios within one interleaved run: a server's CPU (its whole process tree) divided by that of the floor in the same round, the median
over the rounds. Microseconds, requests per second and percentiles are of this machine at that minute, and not to be compared from one run to
another; with a load average far above 1 before the run, the ratios too are worth less.
'''


def write(data, folder):
    import plots
    folder.mkdir(parents=True, exist_ok=True)
    scenarios = {n: data['scenarios'][n] for n in SCENARIOS if n in data['scenarios']}
    m = data['machine']
    lines = [HEAD]
    lines += ['%(cpu)s, %(cpus)d CPUs, %(memory_gb)d GB; %(system)s, Linux %(kernel)s; Python %(python)s, Flask %(flask)s, Django %(django)s; '
              '%(compiler)s; wrk %(wrk)s. Loopback; with one worker, the server on one CPU and wrk on the other.' % m, '']
    lines += ['Versions: ' + ', '.join('%s %s' % (n, v) for n, v in data['versions'].items() if v) + '.', '']
    lines += ['To repeat it: `make bench-peers`, then the command of a scenario below, with `SERVERS=floor,cserve,bjoern` for some servers only; '
              '`make bench` measures all.', '']
    lines += ['## Where cserve is to be', '', *goals(data), '## CPU beside the floor', '', '![CPU per request](cpu.svg)', '', *overview(data)]
    lines += ['## What requests wait', '', '![Percentiles of latency](latency.svg)', '']
    if data['answers']:
        lines += ['## What each one does and does not do', '', 'Looked at from outside, by `benchmarks/answers.py`, with the options of the '
                  'benchmark and one worker. **Bold** is what a user may miss, or an attacker may not.', '', *what_they_do(data)]
    lines += commands(data)
    lines += ['## Every scenario', '']
    for name, entry in scenarios.items():
        lines += scenario_table(name, SCENARIOS[name], entry, data['versions'])
    (folder / 'README.md').write_text('\n'.join(lines).rstrip() + '\n')
    (folder / 'results.json').write_text(json.dumps(rounded(data), separators=(',', ':')).replace('{"requests"', '\n{"requests"') + '\n')
    with_cpu = {n: e for n, e in scenarios.items() if SCENARIOS[n].has_cpu and not SCENARIOS[n].beside}
    plots.cpu(with_cpu, folder / 'cpu.svg')
    plots.latency({n: scenarios[n] for n in LATENCY_PANELS if n in scenarios}, folder / 'latency.svg')
    print('%s, with cpu.svg, latency.svg and results.json' % (folder / 'README.md'))


def rounded(value):
    """Four digits are more than was measured."""
    if isinstance(value, float):
        return float('%.4g' % value)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value
