"""The pictures of the report, as SVG by matplotlib: CPU per request beside the floor, and what requests wait."""
import math

import matplotlib

matplotlib.use('svg')
import matplotlib.pyplot as plt  # noqa: E402

import results  # noqa: E402

matplotlib.rcParams.update({'svg.hashsalt': 'cserve', 'svg.fonttype': 'none', 'font.size': 9, 'axes.spines.top': False,
                            'axes.spines.right': False})
COLOURS = {'cserve': '#c0392b', 'floor': '#2c3e50'}
OTHERS = ['#7f8c8d', '#3498db', '#9b59b6', '#1abc9c', '#f39c12', '#2ecc71', '#d35400', '#34495e', '#8e44ad', '#16a085', '#b08d57', '#5d6d7e']


def colours(names):
    rest = iter(OTHERS * 2)
    return {n: COLOURS.get(n) or next(rest) for n in names}


def save(figure, path):
    figure.savefig(path, format='svg', bbox_inches='tight', metadata={'Date': None})
    plt.close(figure)
    path.write_text('\n'.join(line.rstrip() for line in path.read_text().splitlines()) + '\n')


def cpu(scenarios, path):
    """A panel for each scenario, a bar for each server: the least CPU of its rounds, and over it the ratio to the floor."""
    columns = 3
    rows = math.ceil(len(scenarios) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 2.9 * rows), squeeze=False)
    for axis in axes.flat[len(scenarios):]:
        axis.set_visible(False)
    for axis, (name, entry) in zip(axes.flat, scenarios.items()):
        served = {n: s for n, s in entry['servers'].items() if n != 'kernel' and results.least(s, 'cpu_us')}
        order = sorted(served, key=lambda n: results.least(served[n], 'cpu_us'), reverse=True)
        palette = colours(served)
        values = [results.least(served[n], 'cpu_us') for n in order]
        bars = axis.barh(order, values, color=[palette[n] if n in COLOURS else '#95a5a6' for n in order], log=True)
        for bar, n in zip(bars, order):
            ratio = results.ratio(served[n], served.get('floor'))
            axis.text(bar.get_width() * 1.05, bar.get_y() + bar.get_height() / 2, '%.3g' % bar.get_width() + (
                '  (%.2f)' % ratio if ratio and n != 'floor' else ''), va='center', fontsize=7)
        axis.set_xlim(min(values) / 2, max(values) * 6)
        axis.set_title(name, fontsize=10)
        axis.tick_params(labelsize=7)
    figure.supxlabel('CPU microseconds per request, least of the rounds, logarithmic (in brackets: median ratio to the floor)', fontsize=9)
    figure.tight_layout()
    save(figure, path)


def latency(scenarios, path):
    """A panel for each scenario, a line for each server: median over the rounds of the 50th, 90th, 99th, 99.9th percentile and the worst."""
    keys = dict(zip(('50 %', '90 %', '99 %', '99.9 %', 'worst'), ('p50_us', 'p90_us', 'p99_us', 'p999_us', 'max_us')))
    columns = 2
    rows = math.ceil(len(scenarios) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 3.6 * rows), squeeze=False)
    for axis in axes.flat[len(scenarios):]:
        axis.set_visible(False)
    for axis, (name, entry) in zip(axes.flat, scenarios.items()):
        served = {n: s for n, s in entry['servers'].items() if n != 'kernel' and results.median(s, 'p50_us')}
        for n, colour in colours(served).items():
            values = [(results.median(served[n], k) or math.nan) / 1000 for k in keys.values()]
            axis.plot(list(keys), values, marker='o', markersize=3, color=colour, linewidth=2.2 if n == 'cserve' else 1, label=n,
                      zorder=3 if n == 'cserve' else 2)
        axis.set_yscale('log')
        axis.set_ylabel('ms')
        axis.set_title(name, fontsize=10)
        axis.grid(axis='y', alpha=.3)
        axis.legend(fontsize=6, ncol=2)
    figure.tight_layout()
    save(figure, path)
