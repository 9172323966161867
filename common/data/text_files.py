"""Read text and JSON from outside: a sensible size, a regular file, or one line that says why."""

import json
import os
from pathlib import Path
from typing import Any

from common.errors import UserError, shown
from common.files import open_regular

LARGEST_TEXT = 2**30  # bytes of a JSON, CSV or BVH file: hours of several people


def read_text(path: Path, *, largest: int = LARGEST_TEXT, errors: str = "strict") -> str:
    """The text of a file, which is of a sensible size.

    Args:
        path: the file.
        largest: bytes that it may have.
        errors: what is done about bytes that are not UTF-8, as `bytes.decode` names it.

    Raises:
        UserError: it is not text, is too large or cannot be read.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > largest:
            raise UserError(f"{path}: {size:,} bytes; at most {largest:,} are read")
        try:
            return stream.read().decode("utf-8-sig", errors)
        except UnicodeDecodeError:
            raise UserError(f"{path}: not text in UTF-8") from None
        except (OSError, MemoryError) as error:
            raise UserError(f"{path}: cannot be read ({error or 'too large'})") from None


def load_json(path: Path, *, largest: int = LARGEST_TEXT) -> Any:
    """Parse a JSON file.

    Args:
        path: the file.
        largest: bytes that it may have.

    Raises:
        UserError: it is no JSON, or nested too deeply.
    """
    text = read_text(path, largest=largest)
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{path}: JSON that is nested too deeply") from None
    except MemoryError:
        raise UserError(f"{path}: too large for this machine's memory") from None
    except ValueError as error:  # also a number of too many digits
        raise UserError(f"{path}: not JSON ({shown(error)})") from None
