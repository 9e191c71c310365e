"""The rules of the source tree that no compiler enforces: who may include whom, where Python may be seen, what the binary shows."""
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get('CSERVE') or ROOT / 'build' / 'cserve')
LAYERS = ['base', 'config', 'io', 'http', 'wsgi', 'process']
FILES = sorted(p.relative_to(ROOT) for folder in ('include', 'src') for p in (ROOT / folder).rglob('*.[ch]'))
HEADERS = [f for f in FILES if f.suffix == '.h']
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def includes(file):
    return [(mark, name) for mark, name in INCLUDE.findall((ROOT / file).read_text())]


def layer_of(file):
    """'http' for src/http/conn.c and include/http/conn.h; 'main' for src/main.c, which may include everything."""
    return file.parts[1] if len(file.parts) > 2 else 'main'


def compiler_flags(file):
    """What the build compiles with: Python's headers are visible to src/wsgi alone."""
    flags = ['-std=c11', '-D_GNU_SOURCE', '-Iinclude', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror', '-Wno-unused-function']
    fetched = ROOT / 'build/deps/root/usr/include'
    if fetched.exists():
        flags += ['-isystem', str(fetched)]
    if file.parts[:2] == ('src', 'wsgi'):
        python = os.environ.get('PYTHON', '/usr/bin/python3')
        flags += shlex.split(subprocess.check_output([ROOT / 'scripts/python-flags', python, 'compile'], text=True))
    return flags


def test_there_are_sources():
    assert len(FILES) > 50 and {layer_of(f) for f in FILES} == {*LAYERS, 'main'}


@pytest.mark.parametrize('file', FILES, ids=str)
def test_includes_only_its_own_layer_and_those_below(file):
    layer = layer_of(file)
    allowed = LAYERS if layer == 'main' else LAYERS[:LAYERS.index(layer) + 1]
    for mark, name in includes(file):
        if mark == '<':
            assert name.split('/')[0] not in LAYERS, f'{file}: <{name}> is a header of ours, include it as "{name}"'
            continue
        if '/' not in name:
            # A private header, beside the source. "py.h" is how src/wsgi includes Python.h.
            assert (ROOT / file.parent / name).exists(), f'{file}: "{name}" is not beside it'
            continue
        assert (ROOT / 'include' / name).exists(), f'{file}: "{name}" is not below include/'
        assert name.split('/')[0] in allowed, f'{file}: layer {layer} may not include "{name}"'


@pytest.mark.parametrize('file', FILES, ids=str)
def test_python_is_seen_only_by_wsgi(file):
    for _, name in includes(file):
        if name in ('Python.h', 'structmember.h', 'frameobject.h'):
            assert file.parts[:2] == ('src', 'wsgi'), f'{file} includes {name}'
    if file.parts[:2] != ('src', 'wsgi'):
        assert not re.search(r'\bPy(Object|_|[A-Z][a-z]+_)', (ROOT / file).read_text()), f'{file} names a part of Python'


@pytest.mark.parametrize('file', FILES, ids=str)
def test_file_can_be_read_in_one_sitting(file):
    assert len((ROOT / file).read_text().splitlines()) <= 500


@pytest.mark.parametrize('file', [f for f in FILES if f.suffix == '.c' or f.parts[0] == 'include'], ids=str)
def test_file_says_what_it_is(file):
    assert (ROOT / file).read_text().startswith('/* '), f'{file} does not open with a comment'


@pytest.mark.parametrize('header', HEADERS, ids=str)
def test_header_compiles_alone(header):
    # A private header of src/wsgi comes behind the one that includes Python.h, which Python wants first.
    first = '#include "py.h"\n' if header.parts[:2] == ('src', 'wsgi') and (ROOT / 'src/wsgi/py.h').exists() else ''
    name = header.name if header.parts[0] == 'src' else '/'.join(header.parts[1:])
    source = f'{first}#include "{name}"\n#include "{name}"\n'
    command = [os.environ.get('CC', 'cc'), *compiler_flags(header), f'-I{header.parent}', '-fsyntax-only', '-x', 'c', '-']
    done = subprocess.run(command, input=source, text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def symbols(*arguments):
    return [line.split() for line in subprocess.check_output(['nm', *map(str, arguments)], text=True).splitlines()]


@pytest.mark.skipif(not shutil.which('nm'), reason='nm is not installed')
def test_binary_exports_nothing_of_ours():
    # Python's link flags may export every symbol, and then buf_init would stand in for that of an extension module. What the
    # sources call their functions and variables is found in the objects.
    objects = list((BINARY.parent / 'src').rglob('*.o'))
    ours = {line[-1] for line in symbols('--defined-only', '-g', *objects) if len(line) == 3 and line[1] in 'TDBRVW'}
    assert 'buf_release' in ours and 'main' in ours
    ours = {name for name in ours if not name.startswith(('__asan', '__odr_asan', '__tsan', '__ubsan', 'DW.ref.'))}
    exported = {line[-1].split('@')[0] for line in symbols('-D', '--defined-only', BINARY)}
    assert not ours & exported - {'main'}


@pytest.mark.skipif(not shutil.which('nm'), reason='nm is not installed')
@pytest.mark.parametrize('layer', [layer for layer in LAYERS if layer != 'wsgi'])
def test_only_wsgi_needs_libpython(layer):
    archive = BINARY.parent / 'lib' / f'{layer}.a'
    wanted = {line[-1] for line in symbols('-u', archive) if len(line) == 2}
    assert wanted and not [name for name in wanted if re.match(r'_?Py[A-Z_]', name)]
