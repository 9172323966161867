"""Libraries that only one feature needs."""

import importlib
from types import ModuleType

from common.errors import UserError

# Module -> package to install: for preparing data, for .mat files of predictions (SciPy), and
# for videos and several people (common/requirements-predict.txt, -video.txt).
OPTIONAL = {
    "cdflib": "cdflib",
    "scipy.io": "scipy",
    "h5py": "h5py",
    "smplx.lbs": "smplx",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "mediapipe": "mediapipe==0.10.21",
    "scipy.optimize": "scipy",
}
# For models in ONNX: common/requirements-export.txt.
OPTIONAL |= {"onnx": "onnx", "onnxruntime": "onnxruntime"}


def optional(module: str, *, needed_by: str) -> ModuleType:
    """Import a module of an optional library.

    Args:
        module: one of `OPTIONAL`.
        needed_by: name of the script, for the message.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = OPTIONAL[module]
        raise UserError(f"{needed_by} needs {package}: pip install {package}") from None
