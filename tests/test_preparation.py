"""What all preparation scripts have in common: their flags, their mistakes, their libraries."""

import sys

import pytest
from preparing import run_here

from common.errors import UserError
from common.optional import OPTIONAL
from dataset import make_custom, preparation, prepare_3dhp, prepare_amass, prepare_h36m


@pytest.mark.parametrize(
    ("module", "words", "message"),
    [
        (prepare_h36m, "", "prepare_h36m.py needs cdflib: pip install cdflib"),
        (prepare_3dhp, "", "prepare_3dhp.py needs scipy: pip install scipy"),
        (prepare_3dhp, "test", "prepare_3dhp.py needs h5py: pip install h5py"),
        (prepare_amass, "--body_model x", "prepare_amass.py needs smplx: pip install smplx"),
    ],
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, module, words, message):
    for name in OPTIONAL:
        monkeypatch.setitem(sys.modules, name, None)
    kind = "TS1/annot_data.mat" if words == "test" else "S1/Seq1/annot.mat"
    (tmp_path / kind).parent.mkdir(parents=True)
    (tmp_path / kind).touch()
    with pytest.raises(UserError) as raised:
        run_here(monkeypatch, module, tmp_path, *words.replace("test", "").split())
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "module", [prepare_h36m, prepare_3dhp, prepare_amass, make_custom], ids=lambda m: m.__name__
)
def test_help_and_mistakes_on_the_command_line(tmp_path, monkeypatch, capsys, module):
    with pytest.raises(SystemExit) as raised:
        run_here(monkeypatch, module, "--help")
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert "--force" in text and "--output" in text and "input" in text
    needed = {
        prepare_amass: ["--body_model", "x"],
        make_custom: "--width 9 --height 9 --output o".split(),
    }
    words = needed.get(module, [])
    with pytest.raises(UserError, match="arguments are required"):
        run_here(monkeypatch, module, *words)
    with pytest.raises(UserError, match="unknown argument '--nonsense'"):
        run_here(monkeypatch, module, tmp_path, "--nonsense", *words)
    with pytest.raises(UserError, match="none: no such folder"):
        run_here(monkeypatch, module, tmp_path / "none", *words)
    with pytest.raises(UserError, match=f"^{tmp_path}: n"):  # nothing of use in it
        run_here(monkeypatch, module, tmp_path, *words)


def test_files_that_are_there_are_replaced_only_by_force(tmp_path):
    folder = tmp_path / "new" / "folder"
    paths = preparation.output_paths(folder, ("a.npz", "b.npz"), force=False)
    assert paths == [folder / "a.npz", folder / "b.npz"] and folder.is_dir()
    paths[1].touch()
    with pytest.raises(UserError) as raised:
        preparation.output_paths(folder, ("a.npz", "b.npz"), force=False)
    assert str(raised.value) == f"{paths[1]}: there already; --force replaces what is there"
    assert preparation.output_paths(folder, ("a.npz", "b.npz"), force=True) == paths
    with pytest.raises(UserError, match=f"cannot make the folder {paths[1]}: File exists"):
        preparation.output_paths(paths[1], ("c.npz",), force=False)
