"""A file from anybody may be opened: nothing here unpickles, for pickles run code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ('lift_gs_ros', 'training', 'benchmarks', 'launch')
    for path in sorted((ROOT / folder).rglob('*.py'))
]
MODULES = {'pickle', 'cPickle', '_pickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal'}
READERS = {  # what reads pickles unless it is told not to, and how it is told
    'torch.load': ('weights_only', True),
    'np.load': ('allow_pickle', False),
    'numpy.load': ('allow_pickle', False),
    'open_clip.load_checkpoint': ('weights_only', True),
}
ALWAYS = {'torch.jit.load', 'torch.package', 'pd.read_pickle', 'pandas.read_pickle', 'yaml.load'}


def unpickling(code: str) -> list[str]:
    """Return what in the code may unpickle."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split('.')[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] in MODULES:
            found.append(node.module or '')
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {k.arg: getattr(k.value, 'value', None) for k in node.keywords}
            if name in READERS:
                keyword, safe = READERS[name]
                found += [] if given.get(keyword) is safe else [ast.unparse(node)]
            elif name in ALWAYS or given.get('allow_pickle') is True:
                found.append(ast.unparse(node))
    return found


def test_no_module_unpickles():
    assert len(SOURCES) > 100
    found = {str(path.relative_to(ROOT)): unpickling(path.read_text()) for path in SOURCES}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    'code',
    [
        'import pickle',
        'from joblib import load',
        'torch.load(path)',
        'torch.load(path, weights_only=False)',
        'np.load(path)',
        'np.load(path, allow_pickle=True)',
        'yaml.load(text)',
        'np.loadtxt(path, allow_pickle=True)',
    ],
)
def test_what_unpickles_is_noticed(code):
    assert unpickling(code)


def test_what_does_not_unpickle_is_left_alone():
    assert not unpickling('torch.load(p, weights_only=True); np.load(p, allow_pickle=False)')
