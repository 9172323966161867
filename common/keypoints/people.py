"""The people of a recording: made of single poses, sorted, chosen."""

from dataclasses import replace

import numpy as np

from common.errors import UserError, listing
from common.keypoints.recording import Person, Recording
from common.keypoints.tracks import body_sizes
from common.log import LOG

MOST_ROOM = 4_000_000  # frames times people that are kept: about 0.8 GB


def gather(
    frame: np.ndarray,
    keypoints: np.ndarray,
    confidence: np.ndarray,
    track: np.ndarray,
    *,
    length: int,
    names: dict[int, str] | None,
) -> tuple[Person, ...]:
    """Make people of poses.

    Args:
        frame: (N,) from 0 to `length` - 1.
        keypoints: (N, J, 2), NaN where not detected.
        confidence: (N, J).
        track: (N,) numbers of tracks.
        length: L, of the recording.
        names: of tracks; None to number the people by prominence.

    Returns:
        The people, the most prominent first: the one seen longest and largest. Of two poses of one
        person in a frame the surer one counts.
    """
    sizes = body_sizes(keypoints)
    prominence = {int(number): float(sizes[track == number].sum()) for number in np.unique(track)}
    ranked = sorted((n for n, p in prominence.items() if p > 0), key=lambda n: -prominence[n])
    most = max(1, MOST_ROOM // max(length, 1))
    if len(ranked) > most:
        LOG.warning("warning: %d people; the %d most prominent are kept", len(ranked), most)
    people = []
    for place, number in enumerate(ranked[:most]):
        rows = np.flatnonzero(track == number)
        rows = rows[np.argsort(confidence[rows].mean(1), kind="stable")]  # surer ones overwrite
        poses = np.full((length, *keypoints.shape[1:]), np.nan, np.float32)
        sure = np.zeros((length, keypoints.shape[1]), np.float32)
        poses[frame[rows]], sure[frame[rows]] = keypoints[rows], confidence[rows]
        people.append(Person(names[number] if names else str(place + 1), poses, sure))
    return tuple(people)


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
    people = recording.people
    if person == "all":
        return recording
    if person is None:
        if len(people) > 1:
            others = listing([other.name for other in people[1:]])
            LOG.info(
                "person %s of %d is taken, seen longest and largest (in %d of %d frames); "
                "the others: %s",
                people[0].name,
                len(people),
                np.isfinite(people[0].keypoints).any((1, 2)).sum(),
                len(recording.time),
                others,
            )
        return replace(recording, people=people[:1])
    found = tuple(other for other in people if other.name == str(person))
    if not found:
        names = listing([other.name for other in people])
        raise UserError(f"{recording.source}: no person {person}; there are {names}, or all")
    return replace(recording, people=found)
