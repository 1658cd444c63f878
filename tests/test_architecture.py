"""The import law, read from the source; and that importing a module does nothing."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAPERS = sorted(path.parent.name for path in ROOT.glob("*/recipe.py"))
SOURCES = [path for folder in ("shared", *PAPERS, "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path):
    """Top-level packages that a file imports, function bodies included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_flow_down(path):
    package = path.relative_to(ROOT).parts[0]
    forbidden = {"tests", "benchmarks", "scripts"}
    if package == "shared":
        forbidden |= set(PAPERS)
    if package in PAPERS:
        forbidden |= set(PAPERS) - {package}
    assert not imported(path) & forbidden


def test_recipes_hold_numbers_only():
    for package in PAPERS:
        imports = [node for node in ast.parse((ROOT / package / "recipe.py").read_text()).body if hasattr(node, "module")]
        types = {"collections.abc", "dataclasses", "typing"}
        assert {node.module for node in imports} == types | {"shared.recipes", "shared.scoring.published"}
        assert imported(ROOT / package / "recipe.py") == {"collections", "dataclasses", "typing", "shared"}


def test_what_recipes_import_imports_no_library():
    assert imported(ROOT / "shared/scoring/published.py") == {"dataclasses"}
    assert (ROOT / "shared/scoring/__init__.py").read_text().count("import") == 0


def test_the_table_script_lists_every_paper():
    script = importlib.import_module("scripts.reproduce_table")
    assert sorted(paper.package for paper in script.PAPERS.values()) == PAPERS


def test_recipes_have_no_defaults_and_every_number_says_its_source():
    for package in PAPERS:
        path = ROOT / package / "recipe.py"
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        fields = [node for each in classes for node in each.body if isinstance(node, ast.AnnAssign)]
        assert fields and all(field.value is None for field in fields)
        first = next(n for n in tree.body if isinstance(n, ast.Assign) and getattr(n.value, "func", None) is not None)
        groups = [keyword for keyword in first.value.keywords if isinstance(keyword.value, ast.Call)]
        numbers = [keyword for call in (first, *groups) for keyword in call.value.keywords if keyword not in groups]
        assert len(numbers) + len(groups) == len(fields)
        for keyword in numbers:
            if keyword.arg != "network":
                comment = path.read_text().splitlines()[keyword.lineno - 1].partition("#")[2]
                assert any(source in comment for source in ("paper", "authors' code", "ours")), keyword.arg


# Know one paper, know all: file -> its public names, functions with their first parameters
PARALLEL = {
    "__init__.py": {"__getattr__": None},
    "recipe.py": {"Preparation": None, "Recipe": None, "RECIPES": None, "DEFAULT": None, "PRESETS": None, "PUBLISHED": None},
    "model.py": {"build": ["network"]},
    "losses.py": {},
    "predict.py": {"Segmenter": None, "network": ["recipe"], "prepare": ["scan", "preparation"], "predict": ["segmenter", "scan"],
                   "load": ["weights"], "main": ["arguments"]},
    "train.py": {"METHOD": None, "train": ["recipe", "cases", "experiment"], "stages": ["recipe", "run"],
                 "scorer": ["recipe", "run"], "main": ["arguments"]},
}  # fmt: skip


def defined(path):
    """Name -> parameters of a module's functions; None for its classes and variables."""
    names = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names[node.name] = [argument.arg for argument in node.args.args]
        elif isinstance(node, ast.ClassDef):
            names[node.name] = None
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id: None for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("package", PAPERS)
def test_papers_are_parallel(package):
    assert (ROOT / package / "README.md").is_file()
    for file, wanted in PARALLEL.items():
        found = defined(ROOT / package / file)
        for name, parameters in wanted.items():
            assert name in found, f"{package}/{file}: {name}"
            assert parameters is None or found[name][: len(parameters)] == parameters, f"{package}/{file}: {name}"


def test_files_and_functions_can_be_read_without_scrolling_back():
    for path in SOURCES:
        assert path.read_text().count("\n") <= 300, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                assert not body or node.end_lineno - body[0].lineno < 60, (path, node.name)


def test_fields_of_recipes_are_attributes():
    """Only what reads and writes all fields may ask for them by name."""
    for path in SOURCES:
        if path != ROOT / "shared/recipes.py":
            assert not re.search(r"vars\(recipe|getattr\(recipe|flat\(recipe\)\[", path.read_text()), path


def test_tests_mirror_the_sources():
    """A test file in a folder is called after a module of the same folder of the sources; those of the real data are not."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        place = path.relative_to(ROOT / "tests")
        if len(place.parts) == 1 or place.parts[0] == "fuzz" or place.stem.startswith("test_real_"):
            continue
        name = place.stem.removeprefix("test_").replace("main", "__main__")
        folder = ROOT / place.parent
        assert (folder / f"{name}.py").is_file() or (folder / name).is_dir() or name == folder.name, place


def test_importing_everything_touches_neither_disk_nor_random_state_nor_gpu(tmp_path):
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in SOURCES
        if path.name not in ("__init__.py", "__main__.py") and "scripts" not in path.parts
    ]
    code = f"""
import importlib, os, random, sys
import numpy, matplotlib, keras
sys.path.insert(0, {str(ROOT)!r})
before = random.getstate(), numpy.random.get_state()[1].tolist()
opened = []
sys.addaudithook(lambda name, args: opened.append(args[0]) if name == "open" and isinstance(args[1], str)
                 and set(args[1]) & set("wax+") else None)
for name in {modules!r}:
    importlib.import_module(name)
assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before
written = [name for name in opened if not str(name).endswith(".pyc") and "__pycache__" not in str(name)]
assert not written, written
import tensorflow as tf
from tensorflow.python.eager import context
assert context.context()._context_handle is None, "an import started TensorFlow's runtime"
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_promised_modules_exist():
    """What `lazily` promises is imported at its first use only, which no other test may come to."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        blocks = [node for node in tree.body if isinstance(node, ast.With) and ast.unparse(node.items[0]) == "lazily()"]
        for line in (line for block in blocks for line in block.body):
            for alias in line.names:
                package = importlib.import_module(line.module)
                assert alias.name in ("keras", "ops") or importlib.util.find_spec(f"{line.module}.{alias.name}"), (
                    path,
                    alias.name,
                )
                assert hasattr(package, "__path__") or hasattr(package, alias.name), (path, alias.name)
