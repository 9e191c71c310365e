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
    lines += ['%d rounds of %d s, %s%s' % (entry['rounds'], entry['seconds'], entry['when'], ', at ' + entry['commit'] if entry.get('commit') else ''), '']
    if scenario.kind == 'startup':
        rows = [[label_of(n, versions), number(results.median(s, 'ready_ms'), 0), number(min((r['ready_ms'] for r in s['rounds']), default=None), 0)]
                for n, s in entry['servers'].items()]
        return lines + table(['server', 'ready after ms', 'least'], rows)
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


def goals(data):
    """Where cserve is to be, where it is, and where the best of the others is."""
    rows = []
    for name, scenario in SCENARIOS.items():
        entries = data['scenarios'].get(name, {}).get('servers', {})
        if scenario.goal is None or 'floor' not in entries or 'cserve' not in entries:
            continue
        others = {n: results.ratio(s, entries['floor']) for n, s in entries.items() if n not in FLOORS + ('cserve',)}
        best = min((n for n in others if others[n]), key=others.get, default=None)
        own = results.ratio(entries['cserve'], entries['floor'])
        rows.append([scenario.title, number(own, 2), '%.2f' % scenario.goal, '' if own is None else 'yes' if own <= scenario.goal else '**no**',
                     '%s %.2f' % (best, others[best]) if best else '–'])
    return table(['scenario', 'cserve ÷ floor', 'goal', 'met', 'best of the others'], rows)


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
validation, no timeouts, no log. A server's CPU (its whole process tree) divided by that of the floor in the same round is the ratio that counts; the median over
the rounds is quoted. `kernel` does not even call an application.
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
    lines += ['To repeat it: `make bench-peers`, then `make bench ROUNDS=5 SECONDS=1`, or a part, such as '
              '`make bench SCENARIOS=hello,browser SERVERS=floor,cserve,bjoern`.', '']
    lines += ['## Where cserve is to be', '', *goals(data), '## CPU beside the floor', '', '![CPU per request](cpu.svg)', '', *overview(data)]
    lines += ['## What requests wait', '', '![Percentiles of latency](latency.svg)', '']
    if data['answers']:
        lines += ['## What each one does and does not do', '', 'Looked at from outside, by `benchmarks/answers.py`, with the options of the '
                  'benchmark and one worker. **Bold** is what a user may miss, or an attacker may not.', '', *what_they_do(data)]
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
