"""Another server than ours on a free port of the loopback: a proxy in front, or one to compare with."""
import socket
import subprocess

from support import ports
from support.wait import until


class Neighbour:
    def __init__(self, log):
        self.log = log
        self.port = ports.reserve()
        self.address = ('127.0.0.1', self.port)
        self.process = None

    def start(self, command, **options):
        """Returns when it takes connections. `options` as for subprocess.Popen."""
        self.process = subprocess.Popen(command, **options)
        until(self.answers, f'{command[0]} to answer')

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            socket.create_connection(self.address).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        ports.release(self.port)
