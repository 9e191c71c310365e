"""Reads the table of raw requests (requests/README.md says how a row looks)."""
import re
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[1] / 'requests'
MACROS = {'{H}': r'Host: a\r\n', '{C}': r'POST /c HTTP/1.1\r\nHost: a\r\nX-C: c\r\nTransfer-Encoding: chunked\r\n\r\n'}
ESCAPES = {'r': b'\r', 'n': b'\n', 't': b'\t', '0': b'\0', '\\': b'\\', '"': b'"'}


def unescape(text):
    """The bytes that a row's text stands for."""
    def repeat(match):
        return match.group(1) * int(match.group(2))

    for name, value in MACROS.items():
        text = text.replace(name, value)
    text = re.sub(r'\{\{(.+?)\*(\d+)\}\}', repeat, text)
    out = bytearray()
    for match in re.finditer(r'\\x([0-9a-fA-F]{2})|\\(.)|([^\\]+)', text):
        if match.group(1):
            out.append(int(match.group(1), 16))
        elif match.group(2):
            out += ESCAPES[match.group(2)]
        else:
            out += match.group(3).encode('latin-1')
    return bytes(out)


def _split(text, separator):
    """Splits outside of double quotes that begin behind an equals sign."""
    parts, start, i = [], 0, 0
    while i < len(text):
        if text.startswith('="', i):
            i += 2
            while text[i] != '"':
                i += 2 if text[i] == '\\' else 1
        elif text.startswith(separator, i):
            parts.append(text[start:i])
            i += len(separator)
            start = i
            continue
        i += 1
    return parts + [text[start:]]


class Outcome:
    """One way in which one request may end."""

    def __init__(self, text):
        words = _split(text.strip(), ' ')
        self.text = text.strip()
        self.is_cut = words[0] == 'cut'
        self.is_served = words[0] == 'ok'
        self.statuses = [] if self.is_cut or self.is_served else [int(s) for s in words[0].split('/')]
        self.closes = not self.is_served
        self.is_head = False
        self.seen, self.absent = {}, []
        for word in words[1:]:
            if word == 'close':
                self.closes = True
            elif word == 'HEAD':
                self.is_head = True
            elif word.startswith('-'):
                self.absent.append(word[1:])
            elif '=' in word:
                key, value = word.split('=', 1)
                if value.startswith('"') and value.endswith('"') and len(value) > 1:
                    value = value[1:-1]
                self.seen[key] = unescape(value).decode('latin-1')
            else:
                raise ValueError(f'{word!r} in the outcome {text!r}')


class Row:
    def __init__(self, topic, line):
        parts = line.split(' | ', 3)
        if len(parts) != 4:
            raise ValueError(f'{topic}: a row has four columns: {line!r}')
        self.name, outcome, self.clause, data = parts
        self.topic = topic
        self.data = unescape(data)
        self.items = [[Outcome(o) for o in _split(item, ' or ')] for item in _split(outcome, '; ')]
        self.is_cut = any(o.is_cut for o in self.items[-1])
        self.closes_as_asked = any(o.is_served and o.closes for o in self.items[-1])

    @property
    def id(self):
        return f'{self.topic}: {self.name}'


def rows():
    found = []
    for path in sorted(DIRECTORY.glob('*.txt')):
        for line in path.read_text(encoding='ascii').split('\n'):
            if line and not line.startswith('#'):
                found.append(Row(path.stem, line))
    names = [r.id for r in found]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise ValueError(f'rows of one name: {twice}')
    return found
