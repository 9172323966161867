"""Export a lifter or a masked lifting model: `python -m common.export weights.pth model.onnx`."""

from common.interrupts import end_on_signals

if __name__ == "__main__":  # before the imports that take a while
    end_on_signals()

from common.cli.entry import run_script
from common.cli.predict_flags import export
from common.inference.export import export_model
from common.log import LOG


def main() -> None:
    """Export, compare with PyTorch, say what came out."""
    config = export()
    info, difference = export_model(config.weights, config.path, rate=config.rate)
    for assumption in info.assumed:
        LOG.info("note: %s does not tell, so assumed: %s", config.weights, assumption)
    LOG.info(
        "%s: %s, windows of %d frames; largest difference to PyTorch %.1e m",
        config.path,
        info.task or info.kind,
        info.rule.frames,
        difference,
    )


if __name__ == "__main__":
    run_script(main)
