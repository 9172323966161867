"""The structure that the code keeps: a rule for each folder."""

import ast

import pytest
from paths import ROOT


def imports(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.names[0].name != "*", path
            yield node.module


@pytest.mark.parametrize("path", sorted((ROOT / "model").glob("*.py")), ids=lambda p: p.stem)
def test_models_import_torch_only(path):
    allowed = ("model", "torch", "math", "typing", "collections", "copy")
    assert {name.split(".")[0] for name in imports(path)} <= set(allowed)


def test_the_top_level_is_what_was_agreed():
    agreed = {"pretrainer.py", "trainer.py", "trainer_3dhp.py"}
    assert {path.name for path in ROOT.glob("*.py")} <= agreed
