"""What /proc says about processes."""
import os
import re


def pids():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def stat(pid):
    """(comm, state, parent, session), or None if there is no such process."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            text = f.read()
    except OSError:
        return None
    name, rest = text[text.index('(') + 1:text.rindex(')')], text[text.rindex(')') + 2:].split()
    return name, rest[0], int(rest[1]), int(rest[3])


def is_alive(pid):
    """Exists and is no zombie."""
    s = stat(pid)
    return s is not None and s[1] not in 'ZX'


def title(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            return f.read().rstrip(b'\0').replace(b'\0', b' ').decode('utf-8', 'replace')
    except OSError:
        return ''


def children(parent):
    found = []
    for pid in pids():
        s = stat(pid)
        if s and s[2] == parent:
            found.append(pid)
    return sorted(found)


def of_sessions(sessions):
    """Live processes of these sessions."""
    found = []
    for pid in pids():
        s = stat(pid)
        if s and s[3] in sessions and s[1] not in 'ZX':
            found.append(pid)
    return found


def session(pid):
    s = stat(pid)
    return s[3] if s else None


def _kilobytes(path, key):
    with open(path, encoding='ascii') as f:
        return int(re.search(rf'^{key}:\s+(\d+) kB', f.read(), re.M).group(1)) * 1024


def rss(pid):
    return _kilobytes(f'/proc/{pid}/status', 'VmRSS')


def own_memory(pid):
    """Without pages of files, which come and go with what runs."""
    return _kilobytes(f'/proc/{pid}/status', 'RssAnon')


def peak_rss(pid):
    return _kilobytes(f'/proc/{pid}/status', 'VmHWM')


def pss(pid):
    return _kilobytes(f'/proc/{pid}/smaps_rollup', 'Pss')


def descriptors(pid):
    """{number: what it refers to}"""
    found = {}
    for name in os.listdir(f'/proc/{pid}/fd'):
        try:
            found[int(name)] = os.readlink(f'/proc/{pid}/fd/{name}')
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
        rest = f.read().rpartition(')')[2].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf('SC_CLK_TCK')


def sockets(pid):
    return sum(what.startswith('socket:') for what in descriptors(pid).values())


def wake_ups(pid):
    """How often its threads have begun to run."""
    total = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/status', encoding='ascii') as f:
            total += sum(int(n) for n in re.findall(r'^\w+_ctxt_switches:\s+(\d+)', f.read(), re.M))
    return total
