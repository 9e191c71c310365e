"""A real systemd, as process 1 of namespaces of its own, and cserve as its service. Skipped where that cannot be made."""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from support import procfs
from support.http import request
from support.wait import SLOW, until

pytestmark = pytest.mark.root

SYSTEMD = next((p for p in ('/usr/lib/systemd/systemd', '/lib/systemd/systemd') if os.path.exists(p)), None)
GROUPS = '/sys/fs/cgroup/systemd' if os.path.isdir('/sys/fs/cgroup/systemd') else '/sys/fs/cgroup'
BOOT = '''
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
for hidden in /etc/systemd/system {lib}/system-generators; do mount -t tmpfs tmpfs $hidden; done
mount --bind {group} {groups}
[ {groups} = /sys/fs/cgroup ] || for other in /sys/fs/cgroup/*; do [ $other = {groups} ] || umount $other 2>/dev/null || true; done
mkdir -p /run/systemd/system
cp {units}/* /run/systemd/system
exec env -i container=other PATH="$PATH" {systemd} --system --unit=ours.target --log-target=console --show-status=no
'''
TARGET = '[Unit]\nDescription=nothing\nDefaultDependencies=no\n'
SERVICE = '''[Unit]
DefaultDependencies=no
[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Environment=FDSTORE=16
FileDescriptorStoreMax=16
WatchdogSec=2
Restart=always
RestartSec=500ms
KillMode=mixed
TimeoutStopSec=60
StandardError=append:{log}
'''
SOCKET = '[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=127.0.0.1:{port}\nFileDescriptorName=web\n'


class Manager:
    def __init__(self, server, units):
        self.server = server
        self.directory = server.directory / 'systemd'
        self.units = self.directory / 'units'
        self.units.mkdir(parents=True)
        for name, text in units.items():
            (self.units / name).write_text(text)
        self.group = f'{GROUPS}/cserve-test-{os.getpid()}'
        os.mkdir(self.group)
        script = BOOT.format(group=self.group, groups=GROUPS, units=self.units, systemd=SYSTEMD, lib=os.path.dirname(SYSTEMD))
        self.log_path = self.directory / 'log'
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(
                ['/bin/sh', '-c', 'echo $$ >"$1"/cgroup.procs && exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child /bin/sh -c "$2"',
                 'sh', self.group, script], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            until(lambda: self.process.poll() is not None or self.answers(), 'systemd', 20 * SLOW)
            if self.process.poll() is not None:
                pytest.skip('no systemd can be started here: ' + self.log_path.read_text(errors='replace')[-200:])
        except BaseException:
            self.close()
            raise

    def answers(self):
        found = [p for p in procfs.children(self.process.pid) if 'systemd' in procfs.title(p)]
        self.pid = found[0] if found else None
        return self.pid and self.ctl('show', '-p', 'Version', check=False).startswith('Version')

    def ctl(self, *args, check=True):
        got = subprocess.run(['nsenter', '-t', str(self.pid), '-m', '-p', '--', 'systemctl', *args], capture_output=True, text=True, timeout=60 * SLOW)
        assert not check or got.returncode == 0, f'systemctl {args}: {got.stdout}{got.stderr}\n{self.log_path.read_text()}\n{self.server.log()}'
        return got.stdout

    def show(self, name, unit='cserve.service'):
        return self.ctl('show', '-p', name, '--value', unit).strip()

    def main_pid(self):
        """As seen from here: systemd counts within its namespace."""
        inner = int(self.show('MainPID'))
        for pid in procfs.children(self.pid):
            with open(f'/proc/{pid}/status', encoding='ascii', errors='replace') as f:
                if int(re.search(r'^NSpid:.*\t(\d+)$', f.read(), re.M).group(1)) == inner:
                    return pid
        return None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()  # its process 1 dies with it, and everybody with that
        self.process.wait()
        until(lambda: not any(os.path.getsize(p) or open(p, encoding='ascii').read() for p in self.procs()), 'the end of all', 20 * SLOW)
        for path, _, _ in os.walk(self.group, topdown=False):
            os.rmdir(path)

    def procs(self):
        return [os.path.join(path, 'cgroup.procs') for path, _, _ in os.walk(self.group)]


@pytest.fixture
def systemd(cserve):
    if not SYSTEMD or not shutil.which('unshare') or not shutil.which('nsenter'):
        pytest.skip('systemd, unshare or nsenter is not installed')
    if subprocess.run(['unshare', '--mount', '--pid', '--cgroup', '--ipc', '--uts', '--fork', 'true'], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip('no right to make namespaces')
    managers = []

    def make(socket=False, **options):
        server = cserve(start=False, **options)
        server.write_ini()
        units = {'ours.target': TARGET, 'cserve.service': SERVICE.format(command=' '.join(server.command()), log=server.log_path)}
        if socket:
            units['cserve.socket'] = SOCKET.format(port=server.port)
        try:
            manager = Manager(server, units)
        except OSError as e:
            pytest.skip(f'no right to make a control group: {e}')
        managers.append(manager)
        return server, manager
    yield make
    for manager in managers:
        manager.close()


def test_a_service_lives_under_systemd(systemd):
    """Start, reload, upgrade and stop as systemd sees them."""
    server, manager = systemd(workers=2)
    manager.ctl('start', 'cserve.service')
    assert server.get('/').status == 200, 'started means that it serves'
    assert manager.show('ActiveState') == 'active'
    pid = manager.main_pid()
    assert procfs.title(pid).startswith('cserve: master')
    assert '2 of 2 workers ready' in manager.show('StatusText')
    manager.ctl('reload', 'cserve.service')
    server.wait_for_log('reloaded: generation 2 serves', deadline=20 * SLOW)
    until(lambda: 'generation 2' in manager.show('StatusText'), 'the status of the reload')
    os.kill(pid, signal.SIGUSR2)
    server.wait_for_log('reloaded: generation 3 serves', deadline=20 * SLOW)
    assert manager.main_pid() == pid and manager.show('NRestarts') == '0'
    begin = time.monotonic()
    until(lambda: time.monotonic() > begin + 3, 'longer than the watchdog waits')
    assert manager.show('ActiveState') == 'active' and manager.main_pid() == pid, 'the watchdog was not fed'
    manager.ctl('stop', 'cserve.service')
    assert manager.show('ActiveState') == 'inactive' and manager.show('Result') == 'success'
    assert not procfs.is_alive(pid)


def test_listeners_survive_a_crash_in_systemds_store(systemd):
    """Whoever connects between the crash and the restart waits and is answered."""
    server, manager = systemd()
    manager.ctl('start', 'cserve.service')
    until(lambda: manager.show('NFileDescriptorStore') == '1', 'the stored listener')
    pid = manager.main_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not procfs.is_alive(pid), 'the end')
    with server.connect(timeout=30 * SLOW) as early:
        early.send(request('/', 'Connection: close'))
        assert early.final().status == 200
    until(lambda: manager.show('ActiveState') == 'active', 'the restart', 20 * SLOW)
    assert manager.show('NRestarts') == '1' and manager.show('NFileDescriptorStore') == '1'


def test_a_stored_listener_that_is_no_longer_wanted_is_given_back(systemd):
    """The address has changed between two starts: nobody may wait for ever at the old one."""
    server, manager = systemd()
    manager.ctl('start', 'cserve.service')
    until(lambda: manager.show('NFileDescriptorStore') == '1', 'the stored listener')
    pid, old = manager.main_pid(), server.address
    server._choose_address('tcp')
    server.write_ini()
    os.kill(pid, signal.SIGKILL)
    server.wait_for_log(rf'127\.0\.0\.1-{old[1]}.*given back', deadline=20 * SLOW)
    until(lambda: manager.show('ActiveState') == 'active', 'the restart', 20 * SLOW)
    assert server.get('/').status == 200
    until(lambda: manager.show('NFileDescriptorStore') == '1', 'a store with the new listener alone')
    server.address = old
    with pytest.raises(ConnectionRefusedError):
        server.connect()


def test_a_socket_unit_starts_the_service(systemd):
    server, manager = systemd(socket=True)
    server.settings.pop('bind')
    server.write_ini()
    manager.ctl('start', 'cserve.socket')
    assert manager.show('ActiveState') == 'inactive'
    assert server.get('/').status == 200
    assert manager.show('ActiveState') == 'active'
    manager.ctl('stop', 'cserve.service')
    assert server.get('/').status == 200, 'the socket is systemd\'s and brings the service back'
    manager.ctl('stop', 'cserve.socket', 'cserve.service')
