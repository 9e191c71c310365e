"""Rounds: every server of a scenario is started, then all are measured in turn, again and again, in an order that rotates. So what the
machine does meanwhile hits all of a round, and the ratios within a round are what can be compared."""
import resource
import sys
import time

import http1
import load
from processes import Server
from scenarios import raw_request


def say(text):
    print('  ' + text, file=sys.stderr, flush=True)


def what_is_wrong(server, scenario):
    """None when one request is answered as it should be. A floor's kernel knows no application: any 200 will do."""
    try:
        answer = http1.exchange(server.port, raw_request(scenario), 10)
    except OSError as error:
        return str(error)
    if answer.status != 200:
        return 'status %d' % answer.status
    if not server.spec.is_floor and answer.content != scenario.expected:
        return 'a wrong body of %d bytes' % len(answer.content)
    return None


def start(label, spec, scenario, port, command=None):
    """The server, or what was wrong with it."""
    server = Server(label, spec, scenario, port, command)
    seconds = server.wait_until_ready()
    fault = what_is_wrong(server, scenario) if seconds else 'it did not start: ' + server.complaint()
    if fault:
        server.stop()
        say('%s: %s' % (label, fault))
        return None, fault
    server.ready_s = seconds
    return server, None


def entrants(scenario, specs):
    """Label, specification, command and idle connections of each: one each, or two where a scenario looks at a difference."""
    for name, spec in specs.items():
        if name in scenario.without or scenario.only and name not in scenario.only:
            continue
        if not scenario.beside:
            yield name, spec, None, scenario.idle
        elif scenario.beside == 'log':
            if spec.log or name == 'floor':
                yield name, spec, None, 0
            if spec.log:
                yield name + ' +log', spec, spec.log, 0
        else:
            yield name, spec, None, 0
            yield name + ' +idle', spec, None, scenario.idle


def allow_many_connections(scenario):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, max(soft, 4 * scenario.idle + 4096))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_rounds(name, scenario, specs, rounds, seconds, ports):
    results, live, idle = {}, [], {}
    allow_many_connections(scenario)
    client = load.CLIENTS[scenario.kind]
    seconds = max(seconds, scenario.seconds)
    try:
        for label, spec, command, idle_connections in entrants(scenario, specs):
            server, fault = start(label, spec, scenario, next(ports), command)
            results[label] = dict(rounds=[]) if server else dict(rounds=[], error=fault)
            if not server:
                continue
            live.append(server)
            if idle_connections:
                before = server.memory_kb()
                idle[label] = load.open_idle(server.port, idle_connections)
                results[label].update(idle=len(idle[label]), idle_kb=server.memory_kb()['pss_kb'] - before['pss_kb'])
            if scenario.kind == 'wrk':
                load.wrk(server, scenario, 1, 0)  # caches of its own may fill
        for i in range(rounds):
            first = i % len(live) if live else 0
            for server in live[first:] + live[:first]:
                told = client(server, scenario, seconds, i)
                results[server.label]['rounds'].append(told)
                say('%s %d %-20s %s' % (name, i, server.label, told.get('error') or '%(rps)8.0f/s %(cpu_us)8.1f us' % told))
        for server in live:
            results[server.label]['memory'] = server.memory_kb()
            if server.label in idle:
                results[server.label]['idle_left'] = load.still_open(idle[server.label])
    finally:
        for server in live:
            server.stop()
        for sockets in idle.values():
            for s in sockets:
                s.close()
    return results


def ways(spec):
    """Each worker imports the application, or it is imported before they are forked, where that can be chosen: prefix of the results, command."""
    return [('preload_' if spec.is_preloaded else '', spec.command)] + ([('preload_', spec.preload)] if spec.preload else [])


def run_startup(name, scenario, specs, rounds, seconds, ports):
    results = {label: dict(rounds=[]) for label, *_ in entrants(scenario, specs)}
    for i in range(rounds):
        for label, spec, _, _ in entrants(scenario, specs):
            told = {}
            for prefix, command in ways(spec):
                server, fault = start(label, spec, scenario, next(ports), command)
                if server:
                    told[prefix + 'ready_ms'] = server.ready_s * 1000
                    server.stop()
                else:
                    results[label]['error'] = fault
            results[label]['rounds'].append(told)
        say('%s %d' % (name, i))
    return results


def run_memory(name, scenario, specs, rounds, seconds, ports):
    """Memory hardly varies: one round."""
    results = {}
    for label, spec, _, _ in entrants(scenario, specs):
        told = {}
        for prefix, command in ways(spec):
            server, fault = start(label, spec, scenario, next(ports), command)
            if server:
                for _ in range(200):  # so that every worker has served
                    http1.get(server.port)
                time.sleep(0.5)
                told.update({prefix + k: v for k, v in server.memory_kb().items()})
                server.stop()
        results[label] = dict(rounds=[told]) if told else dict(rounds=[], error=fault)
        say('%s %s' % (name, label))
    return results


def run(name, scenario, specs, rounds, seconds, ports):
    runner = {'startup': run_startup, 'memory': run_memory}.get(scenario.kind, run_rounds)
    return runner(name, scenario, specs, rounds, seconds, ports)
