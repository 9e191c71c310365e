"""TCP ports that nobody else takes: below the kernel's own range, and each reserved by an abstract unix socket, so that parallel test
processes of any user agree without files, and a process that dies gives its ports back."""
import random
import socket

LOWEST, HIGHEST = 11000, 31999
_reserved = {}


def _is_free(port):
    for family, host in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        with probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, port))
            except OSError as e:
                if e.errno == 98:
                    return False
    return True


def reserve():
    while True:
        port = random.randint(LOWEST, HIGHEST)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f'\0cserve-test-port-{port}')
        except OSError:
            claim.close()
            continue
        if _is_free(port):
            _reserved[port] = claim
            return port
        claim.close()


def release(port):
    claim = _reserved.pop(port, None)
    if claim:
        claim.close()
