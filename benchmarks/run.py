"""The command behind `make bench`: run.py [paths] measure|answers|report [options]; the Makefile gives the paths."""
import argparse
import os
from pathlib import Path

import answers
import measure
import report
import results
import scenarios
import servers
from processes import free_ports


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--binary', type=Path, required=True, help='cserve')
    parser.add_argument('--floors', type=Path, required=True, help='the folder of the two floors')
    parser.add_argument('--python', required=True, help='the interpreter that both embed')
    parser.add_argument('--venv', type=Path, required=True, help='a virtual environment with peers, if it is there')
    parser.add_argument('--results', type=Path, required=True, help='the JSON file that results are merged into')
    commands = parser.add_subparsers(dest='command', required=True)
    for name in ('measure', 'answers'):
        command = commands.add_parser(name)
        command.add_argument('--servers', default='all', help='names by comma')
    commands.choices['measure'].add_argument('--scenarios', default='all', help='names by comma; `answers` is one of them')
    commands.choices['measure'].add_argument('--rounds', type=int, default=5)
    commands.choices['measure'].add_argument('--seconds', type=int, default=1)
    commands.add_parser('report').add_argument('--folder', type=Path, required=True)
    return parser.parse_args()


def main():
    args = arguments()
    data = results.read(args.results)
    if args.command == 'report':
        report.write(data, args.folder)
        return
    servers.require('wrk', 'taskset')
    specs = servers.chosen(servers.find(args.binary.resolve(), args.floors.resolve(), args.python, args.venv.resolve()), args.servers)
    names = args.scenarios.split(',') if args.command == 'measure' else ['answers']
    with_answers = 'answers' in names or names == ['all']
    chosen = scenarios.chosen(','.join(n for n in names if n != 'answers')) if names != ['answers'] else {}
    data['machine'] = results.machine(args.python)
    data['versions'].update({name: spec.version for name, spec in specs.items()})
    data.setdefault('commands', {}).update({name: spec.command.replace('%s/' % results.ROOT, '') for name, spec in specs.items()})
    scenarios.write_big_file()
    ports = free_ports()
    if with_answers:
        data['answers'].update(answers.look(specs, ports))
        results.write(args.results, data)
    for name, scenario in chosen.items():
        load = os.getloadavg()[0]
        told = measure.run(name, scenario, specs, args.rounds, args.seconds, ports)
        results.merge(data, name, scenario, told, args.rounds, args.seconds, load)
        results.write(args.results, data)
        print('\n'.join(report.scenario_table(name, scenario, data['scenarios'][name])), flush=True)


if __name__ == '__main__':
    main()
