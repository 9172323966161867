"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "dataset" / "sample"
GOLDEN = ROOT / "tests" / "golden"
