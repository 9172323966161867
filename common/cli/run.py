"""Steps that every run of models has."""

from collections.abc import Sequence

from torch import nn

from common.cli.configs import RunConfig
from common.errors import UserError
from common.log import LOG
from common.training.run_folder import RunFolder
from common.training.runtime import Runtime
from model.build import freeze


def open_folder(config: RunConfig, run: Runtime) -> RunFolder:
    """The folder of a run, with its log open."""
    return RunFolder(run, config.folder, config.info, train=config.train, resume=config.resume)


def freeze_parts(config: RunConfig, module: nn.Module) -> Sequence[nn.Module]:
    """Freeze the parts that the command line names.

    Raises:
        UserError: there is no such part, or nothing would be left to train.
    """
    if not config.frozen_parts:
        return []
    try:
        frozen = freeze(module, config.frozen_parts)
    except ValueError as error:
        raise UserError(f"--frozen_parts: {error}") from None
    LOG.info("frozen: %s", ", ".join(config.frozen_parts))
    return frozen
