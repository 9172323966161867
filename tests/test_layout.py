"""The structure that the code keeps: imports run downward, `model/` knows torch only."""

import ast

import pytest
from conftest import ROOT

# Each module may import only modules of lower layers.
LAYERS = [
    {"common.errors", "common.skeleton", "model.layers"},
    {
        "common.pose_ops",
        "common.windows",
        "common.metrics",
        "common.camera",
        "common.safe_npz",
        "common.data_files",
        "common.masking",
        "Augpart.bones",
    },
    {
        "common.checkpoint",
        "common.runtime",
        "common.pose_store",
        "model.encoders",
        "common.options",
        "Augpart.pose_generator",
        "Augpart.critics",
    },
    {"common.drawing", "common.run_folder", "Augpart.adversarial", "Augpart.augment"},
    {"common.h36m", "common.mpi_inf_3dhp", "common.amass", "model.lifter", "model.masked_pose"},
    {"common.data_sets"},
    {"common.training", "common.lifting_engine", "common.pretrain_engine", "common.models"},
    {"common.preparation", "Augpart.draw", "Augpart.adversarial_training"},
    {"common.reports", "common.viz", "common.inspect"},
    {"common.official_3dhp"},
    {"trainer", "pretrainer"},
    {"trainer_3dhp"},
]
# Run on their own, beside the scripts at the top.
ENTRIES = {
    "Augpart.train_generator",
    "dataset.prepare_h36m",
    "dataset.prepare_3dhp",
    "dataset.prepare_amass",
    "dataset.make_custom",
}
LAYER_OF = {module: number for number, layer in enumerate([*LAYERS, ENTRIES]) for module in layer}


def sources():
    for folder in ("common", "model", "Augpart", "dataset"):
        for path in sorted((ROOT / folder).glob("*.py")):
            if path.stem != "__init__":
                yield f"{folder}.{path.stem}", path
    for path in sorted(ROOT.glob("*.py")):
        yield path.stem, path


def imports(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.names[0].name != "*", path
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            known = [module for module in modules if module in LAYER_OF]
            yield from known or [node.module]


@pytest.mark.parametrize(("module", "path"), list(sources()), ids=str)
def test_imports_run_downward(module, path):
    assert module in LAYER_OF, f"{module} has no layer yet"
    for imported in imports(path):
        top = imported.split(".")[0]
        if top in ("common", "model", "Augpart"):
            assert LAYER_OF[imported] < LAYER_OF[module], f"{module} imports {imported}"
        if module.startswith("model."):
            assert top in ("model", "torch", "math", "typing"), f"{module} imports {imported}"
        if module.endswith("_engine"):
            assert top not in ("model", "Augpart"), f"{module} imports {imported}"
        if imported == "argparse":
            assert module == "common.options" or module in ENTRIES or "." not in module, module


def test_the_top_level_is_what_was_agreed():
    agreed = {"pretrainer.py", "trainer.py", "trainer_3dhp.py"}
    assert {path.name for path in ROOT.glob("*.py")} <= agreed
