"""docs/operations.md shows what events look like in the log: every line there must be one that the sources can write, and what a supervisor
has to say about its workers must be shown there."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs/operations.md').read_text()
CALL = re.compile(r'log_(?:info|warning|error)\(\s*((?:"(?:[^"\\]|\\.)*"\s*|CSERVE_VERSION\s*)+)|'
                  r'(?:log_write|snprintf)\([^"]*?,\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"|(CSERVE_VERSION)')
CONVERSIONS = [(r'%(?:\.\*)?s', '.*?'), (r'%(?:l|ll|z)?[du]', r'\d+'), (r'%\.0f', r'\d+'), (r'%\.1f', r'\d+\.\d'), (r'%\.2f', r'\d+\.\d\d')]
CAUSES = re.compile(r'killed by (?:SIG[A-Z]+|the kernel for memory|cserve: .*)|exited with status \d+.*')


def messages(files):
    """Format strings of the log's lines."""
    for file in files:
        for call in CALL.finditer(file.read_text()):
            if call.group(2) and file.parent.name == 'process' and 'log_write' not in call.group(0):
                continue  # parts of a line
            yield ''.join(r'\d+\.\d+\.\d+' if version else text for text, version in LITERAL.findall(call.group(1) or call.group(2))).removesuffix('\\n')


def pattern(message):
    parts = re.split(r'(%(?:\.\*|\.\d)?(?:l|ll|z)?[sduf]|\\d\+\\\.\\d\+\\\.\\d\+)', message)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.escape(part.replace('%%', '%').replace('\\"', '"'))
        else:
            parts[i] = next((p for c, p in CONVERSIONS if re.fullmatch(c, part)), part)
    return re.compile(''.join(parts))


def examples():
    """The lines of the log among the indented blocks; remarks stand behind three spaces."""
    for line in TEXT.splitlines():
        match = re.match(r'    (?:\[(?:master|worker \d+)\] \[\w+\] )?((?:(?<=\] )|(?=worker \d+ \(pid|template \(pid)).*?)(?:   +.*)?$', line)
        if match and match.group(1) != '...':
            yield match.group(1)


@pytest.mark.parametrize('line', sorted(set(examples())))
def test_the_sources_can_write_the_line(line):
    death = re.match(r'(?:worker|template) .*?\(pid \d+\) (.*)', line)
    if death and CAUSES.match(death.group(1)):
        return  # put together from parts; tests/unit/process/test_death.c has the words
    found = [m for m in messages(sorted((ROOT / 'src').rglob('*.c'))) if len(re.sub('%[^a-z]*[a-z]', '', m)) > 6 and pattern(m).fullmatch(line)]
    assert found, f'no log line of the sources looks like {line!r}'


@pytest.mark.parametrize('file', ['arbiter', 'news', 'reaper', 'recycle', 'reexec', 'reload', 'seating', 'sockets', 'spawn', 'watch'])
def test_the_supervisors_words_are_shown(file):
    """All that these files say at info and above, but for what only another version's upgrade can bring about."""
    shown = list(examples())
    rare = ('scoreboard of the old command', 'this kernel gave no memfd', 'cannot go back to', 'lost the socket', '%s%s%s')
    missing = [m for m in messages([ROOT / f'src/process/{file}.c'])
               if not any(r in m for r in rare) and not any(pattern(m).fullmatch(line) for line in shown)]
    assert not missing, f'docs/operations.md does not show {missing}'
