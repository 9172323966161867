"""Output replaces nothing but what the program itself wrote."""

import os
import socket

import numpy as np
import pytest
from paths import GOLDEN, SAMPLE

from common.cli import options
from common.errors import UserError
from common.evaluation.drawing import new_figure, save
from common.outputs import MARK, check_output, marked_mat, marked_zip, written_by_us


def npz_bytes(tmp_path):
    np.savez(tmp_path / "made.npz", a=np.arange(3))
    return (tmp_path / "made.npz").read_bytes()


def own_files(tmp_path):
    """A file of each format, as the program writes it."""
    figure, _ = new_figure(1, 1, (1, 1))
    save(figure, tmp_path / "own.png")
    (tmp_path / "own.npz").write_bytes(marked_zip(npz_bytes(tmp_path)))
    (tmp_path / "own.json").write_text(f'{{"written_by": "{MARK}", "long": "{"x" * 9000}"}}')
    (tmp_path / "own.txt").write_text("x" * 9000 + MARK)
    return sorted(tmp_path.glob("own.*"))


def test_own_files_are_recognised_and_replaced(tmp_path):
    paths = own_files(tmp_path)
    assert len(paths) == 4
    for path in paths:
        assert written_by_us(path) and check_output(path) == path
    assert list(np.load(tmp_path / "own.npz")["a"]) == [0, 1, 2]
    assert check_output(tmp_path / "new.npz") == tmp_path / "new.npz"


def test_a_marked_matlab_file_is_read(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "x.mat", {"a": np.arange(3)})
    (tmp_path / "x.mat").write_bytes(marked_mat((tmp_path / "x.mat").read_bytes()))
    assert written_by_us(tmp_path / "x.mat")
    assert scipy_io.loadmat(tmp_path / "x.mat")["a"].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    "content", [b"", b"notes", os.urandom(20000), MARK[:-1].encode(), b"\x89PNG\r\n\x1a\n", b"PK"]
)
def test_foreign_files_need_force(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="--picture .* was not written by this program"):
        check_output(path, flag="--picture")
    assert check_output(path, force=True) == path
    assert path.read_bytes() == content


@pytest.mark.parametrize("force", [False, True])
def test_inputs_are_never_replaced(tmp_path, force):
    path, folder = tmp_path / "data" / "x.npz", tmp_path / "data"
    folder.mkdir()
    path.write_bytes(b"poses")
    os.link(path, tmp_path / "hard.npz")
    os.symlink(folder, tmp_path / "link")
    for output, inputs in (
        (path, [path]),
        (tmp_path / "data" / ".." / "data" / "x.npz", ["", tmp_path / "none", path]),
        (tmp_path / "hard.npz", [path]),  # another name of the same file
        (tmp_path / "link" / "x.npz", [path]),
        (path, [folder]),  # a data folder
        (tmp_path / "link" / "x.npz", [folder]),
    ):
        with pytest.raises(UserError, match="read by this run"):
            check_output(output, inputs=inputs, force=force)
    own = folder / "own.npz"
    own.write_bytes(marked_zip(npz_bytes(tmp_path)))
    assert check_output(own, inputs=[folder]) == own
    with pytest.raises(UserError, match="read by this run"):
        check_output(own, inputs=[own])


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "device", "link", "dangling", "loop"])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_file_is_refused(tmp_path, monkeypatch, kind, force):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = tmp_path / "x.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind("x.png")
    elif kind == "device":
        path = type(path)("/dev/null")
    else:
        target = {"link": own_files(tmp_path)[0], "dangling": "none", "loop": path}[kind]
        path.symlink_to(target)
    with pytest.raises(UserError, match="is a (folder|device|link)") as raised:
        check_output(path, force=force)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["x" * 300 + ".npz", "a\0b.npz", "none/x.npz", "file/x.npz"])
def test_paths_that_cannot_be(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as raised:
        check_output(tmp_path / name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("trainer.py", f"--reload 1 --previous_dir {GOLDEN}/ckpt/small_lift.pth"),
        ("trainer_3dhp.py", ""),
        ("trainer.py", "--train 1 --dataset 3dhp"),
    ],
)
def test_predictions_are_checked_before_the_run(tmp_path, monkeypatch, script, words):
    monkeypatch.chdir(tmp_path)
    words = [*words.split(), "--save_predictions", "p.npz"]
    options.read(script, words)
    foreign = tmp_path / ("p.mat" if "3dhp" in f"{script} {words}" else "p.npz")
    foreign.write_bytes(b"mine")
    with pytest.raises(UserError, match=f"{foreign.name} is there already"):
        options.read(script, words)
    assert options.read(script, [*words, "--force"])[0].force
    data = SAMPLE / "data_3d_h36m.npz"
    words = ["--root_path", f"{SAMPLE}", "--save_predictions", f"{data}", "--force"]
    with pytest.raises(UserError, match="is read by this run"):
        options.read(script, words)


@pytest.mark.parametrize("content", ["ours", "foreign"])
def test_where_all_files_are_kept_only_force_replaces_one(tmp_path, content):
    path = tmp_path / "out.npz"
    path.write_bytes(marked_zip(npz_bytes(tmp_path)) if content == "ours" else b"mine")
    assert written_by_us(path) == (content == "ours")
    with pytest.raises(UserError, match="^--output .*out.npz exists; --force replaces it$"):
        check_output(path, keep_ours=True, flag="--output")
    assert check_output(path, keep_ours=True, force=True) == path
    with pytest.raises(UserError, match="is read by this run"):
        check_output(path, inputs=[None, path], keep_ours=True, force=True)
