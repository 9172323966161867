"""The structure that the code keeps: a rule for each folder, imports run downward."""

import ast

import pytest
from paths import ROOT

GROUND = {
    "common.errors",
    "common.files",
    "common.interrupts",
    "common.log",
    "common.optional",
    "common.outputs",
    "common.pickle_scan",
    "common.progress",
}
# Folder -> the folders of the project that its modules may import, beside itself and the ground.
MAY_IMPORT = {
    "model": set(),
    "common.data": set(),
    "common.training": set(),
    "common.tasks": {"common.data", "common.training", "model"},
    "common.evaluation": {"common.data", "common.tasks", "common.training", "model"},
    "common.keypoints": {"common.data"},
    "common.inference": {
        "common.data",
        "common.keypoints",
        "common.tasks",
        "common.training",
        "model",
    },
    "common.motion_files": {"common.data", "common.inference", "common.keypoints"},
    "common.cli": {
        "common.data",
        "common.evaluation",
        "common.inference",
        "common.keypoints",
        "common.motion_files",
        "common.tasks",
        "common.training",
        "model",
    },
    "Augpart": {
        "common.cli",
        "common.data",
        "common.evaluation",
        "common.tasks",
        "common.training",
        "model",
    },
    "dataset": {"common.cli", "common.data"},
}
ENTRY_SCRIPTS = {"trainer", "trainer_3dhp", "pretrainer"}
MODULES = [
    *sorted(ROOT.glob("*.py")),
    *(
        p
        for folder in ("model", "common", "Augpart", "dataset")
        for p in ROOT.glob(f"{folder}/**/*.py")
    ),
]


def imports(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.names[0].name != "*", path
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(module):
    """The folder that has a rule of its own, or the module itself at the ground."""
    parts = module.split(".")
    if parts[0] == "common":
        return ".".join(parts[:2])
    return parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downward(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    folder = folder_of(module)
    ours = {name for name in imports(path) if name.split(".")[0] in ("common", "model", "Augpart")}
    imported = {folder_of(name) for name in ours} - GROUND - {"common", folder}
    if module in GROUND:
        assert not imported, module
    elif folder in MAY_IMPORT:
        assert imported <= MAY_IMPORT[folder], module
    assert not {name for name in imports(path) if name in ENTRY_SCRIPTS - {module}}, module


@pytest.mark.parametrize("path", sorted((ROOT / "model").glob("*.py")), ids=lambda p: p.stem)
def test_models_import_torch_only(path):
    allowed = {"model", "torch", "math", "typing", "collections", "copy", "dataclasses"}
    assert {name.split(".")[0] for name in imports(path)} <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_command_line_sees_argparse(path):
    if "argparse" in imports(path):
        assert folder_of(".".join(path.relative_to(ROOT).parts)) in ("common.cli", "dataset"), path


@pytest.mark.parametrize(
    "path",
    [*MODULES, *sorted((ROOT / "tests").glob("*.py"))],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_files_are_short_and_say_what_they_are(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 400, path
    assert ast.get_docstring(ast.parse(source)), path


def test_the_top_level_is_what_was_agreed():
    assert {path.stem for path in ROOT.glob("*.py")} == ENTRY_SCRIPTS
