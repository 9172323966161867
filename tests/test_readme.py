"""What the README pages show can be run as it stands."""

import re
import shlex

import pytest
from paths import ROOT

from common.cli.flags import build_parser

PAGES = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("[!.]*/README.md"))
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


def test_the_python_of_the_readme_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 8
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "torch.Size([1, 1, 17, 3])\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
