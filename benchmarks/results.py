"""What was measured, in one JSON file: a run replaces the scenarios that it measured and leaves the others."""
import json
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ''


def machine(python):
    cpu = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text())
    release = re.search(r'PRETTY_NAME="(.*)"', Path('/etc/os-release').read_text())
    return dict(cpu=cpu.group(1) if cpu else platform.machine(), cpus=os.cpu_count(), kernel=os.uname().release,
                memory_gb=round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30),
                system=release.group(1) if release else '', python=output(python, '-c', 'import sys; print(sys.version.split()[0])'),
                compiler=output('cc', '--version').split('\n')[0], wrk=output('dpkg-query', '-W', '-f', '${Version}', 'wrk'),
                flask=output(python, '-c', 'import importlib.metadata as m; print(m.version("flask"))'),
                django=output(python, '-c', 'import importlib.metadata as m; print(m.version("django"))'))


def read(path):
    return json.loads(path.read_text()) if path.exists() else dict(machine={}, versions={}, commands={}, scenarios={}, answers={})


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix('.new')
    new.write_text(json.dumps(data, indent=1, default=float) + '\n')
    new.rename(path)


def merge(data, name, scenario, servers, rounds, seconds, load):
    """`load` is what the machine was busy with before: processes that ran or waited to run, over the last minute."""
    # Ratios are within a round: what another run measured would be paired with rounds of this one.
    data['scenarios'][name] = dict(
        servers=servers, when=time.strftime('%Y-%m-%d %H:%M'), rounds=rounds, seconds=max(seconds, scenario.seconds), load=load,
        commit=output('git', 'describe', '--always', '--dirty', '--exclude=*'))


def median(server, key):
    values = [r[key] for r in server['rounds'] if r.get(key) is not None]
    return statistics.median(values) if values else None


def least(server, key):
    return min((r[key] for r in server['rounds'] if r.get('requests', 0) > 10 and r.get(key) is not None), default=None)


def total(server, key):
    return sum(r.get(key, 0) for r in server['rounds'])


def pairs(server, base, key='cpu_us'):
    return [(a[key], b[key]) for a, b in zip(server['rounds'], base['rounds'])
            if a.get(key) and b.get(key) and a.get('requests', 1) and b.get('requests', 1)]


def ratio(server, base, key='cpu_us'):
    """The median over the rounds of CPU, or another figure, divided by that of `base` in the same round."""
    both = pairs(server, base, key) if server and base else []
    return statistics.median(a / b for a, b in both) if both else None


def difference(server, base):
    """The same of the difference, in microseconds."""
    both = pairs(server, base) if server and base else []
    return statistics.median(a - b for a, b in both) if both else None
