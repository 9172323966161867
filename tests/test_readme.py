"""What the README pages show can be run as it stands."""

import re
import shlex

import pytest
from paths import ROOT

from common.cli import predict_flags
from common.cli.flags import build_parser

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("[!.]*/README.md")),
    *sorted(ROOT.glob("common/*/README.md")),
]
SCRIPTS = ("trainer.py", "trainer_3dhp.py", "pretrainer.py")


def commands():
    """Every command of the three scripts in backticks or code blocks, as words."""
    for page in PAGES:
        for script, words in re.findall(r"python (\w+\.py)((?: [^`\n|]+)?)", page.read_text()):
            if script in SCRIPTS:
                yield pytest.param(script, shlex.split(words), id=f"{page.parent.name} {script}")


@pytest.mark.parametrize(("script", "words"), list(commands()))
def test_commands_are_valid(script, words):
    build_parser(script).parse_args([word for word in words if word not in ("--help", "&&")])


def entries():
    """Every command of `python -m common.predict` and `common.export`, as words."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ").replace("--video\n", "--video ")
        text = text.replace("--model\n", "--model ")
        for name, words in re.findall(r"python -m common\.(predict|export)((?: [^`\n|]+)?)", text):
            if len(words.split()) > 1 and "..." not in words:
                yield pytest.param(name, shlex.split(words), id=f"{page.parent.name} {words[:30]}")


@pytest.mark.parametrize(("name", "words"), list(entries()))
def test_commands_of_inference_are_valid(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert getattr(predict_flags, name)(words)


def test_the_python_of_the_readme_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 8
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "(50, 17, 3)\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
