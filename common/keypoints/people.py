"""The people of a recording: which of them are wanted."""

from common.keypoints.recording import Recording


def choose(recording: Recording, person: int | str | None = None) -> Recording:
    """The recording with the people that are asked for.

    Args:
        recording: with at least one person.
        person: the name of one (a number), "all", or None for the most prominent.

    Returns:
        The recording with these people only.

    Raises:
        UserError: nobody has this name.
    """
    raise NotImplementedError
