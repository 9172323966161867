"""Videos: frames, times, rotation, detection, and files that are no videos."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from keypoint_files import alphapose, in_order, person
from preparing import run_here

from common import detect
from common.errors import UserError
from common.keypoints.detectors import registry
from common.keypoints.reading import ReadOptions, read_recording
from common.keypoints.video import open_video

WIDTH, HEIGHT, LENGTH = 64, 48, 20


def ffmpeg(*words):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True)


def frames():
    """(L, H, W, 3): a bright square that moves down a frame's left edge; frame number as grey."""
    made = np.full((LENGTH, HEIGHT, WIDTH, 3), 40, np.uint8)
    for number, image in enumerate(made):
        image[number : number + 16, :16] = 220
        image[:, 40:] = 10 * number
    return made


def write(path, *options, before=()):
    raw = path.with_suffix(".raw")
    raw.write_bytes(frames().tobytes())
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", 25, "-i", raw]
    ffmpeg(*source, *before, "-pix_fmt", "yuv420p", *options, path)
    return path


def numbers(images):
    """The number of each frame, read from its grey."""
    return [round(float(image[20:28, 46:60].mean()) / 10) for image in images]


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("avi", "mpeg4"),
        ("webm", "libvpx"),
        ("mkv", "libx264"),
    ],
)
def test_every_frame_of_every_container_comes_in_order(suffix, codec, tmp_path):
    video = open_video(write(tmp_path / f"v.{suffix}", "-c:v", codec, "-b:v", "2M"))
    times, images = zip(*video.frames(), strict=True)
    assert video.size == (WIDTH, HEIGHT) and images[0].shape == (HEIGHT, WIDTH, 3)
    assert numbers(images) == list(range(LENGTH))
    np.testing.assert_allclose(np.diff(times), 0.04, atol=0.0011)
    np.testing.assert_allclose(video.times, times)
    assert video.estimated_frames == pytest.approx(LENGTH, abs=1)


def test_a_variable_rate_is_read_by_its_time_stamps(tmp_path):
    """Frames after the tenth last three times as long; none is dropped nor repeated."""
    stretched = "setpts='if(lt(N,10),N,10+(N-10)*3)/25/TB'"
    path = write(tmp_path / "v.mp4", "-c:v", "libx264", "-fps_mode", "vfr", "-vf", stretched)
    video = open_video(path)
    times, images = zip(*video.frames(), strict=True)
    assert numbers(images) == list(range(LENGTH))
    expected = [n / 25 if n < 10 else (10 + 3 * (n - 10)) / 25 for n in range(LENGTH)]
    np.testing.assert_allclose(times, expected, atol=0.002)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotation_in_the_container_is_obeyed(degrees, tmp_path):
    plain = write(tmp_path / "v.mp4", "-c:v", "libx264", "-crf", "10")
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", degrees, "-i", plain, "-c", "copy", turned)
    video = open_video(turned)
    assert video.size == ((WIDTH, HEIGHT) if degrees == 180 else (HEIGHT, WIDTH))
    _, image = next(iter(video.frames()))
    expected = np.rot90(frames()[0], degrees // 90)  # the option turns anticlockwise, as this does
    assert np.abs(image.astype(int) - expected).mean() < 12


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    path = write(tmp_path / "v.mp4", "-c:v", "libx264", "-vf", "setsar=2")
    video = open_video(path)
    assert video.size == (2 * WIDTH, HEIGHT)
    assert next(iter(video.frames()))[1].shape == (HEIGHT, 2 * WIDTH, 3)


def test_a_name_that_is_no_option_and_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = write(tmp_path / "v.mp4", "-c:v", "libx264")
    for name in ("-v.mp4", "http:v.mp4", "a %03d b.mp4"):
        path = written.rename(tmp_path / name)
        written = path
        assert len(list(open_video(path.relative_to(tmp_path)).frames())) == LENGTH


def test_stopping_early_ends_the_decoder(tmp_path):
    reader = open_video(write(tmp_path / "v.mp4", "-c:v", "libx264")).frames()
    next(reader)
    reader.close()
    children = subprocess.run(
        ["ps", "-o", "args", "--ppid", str(__import__("os").getpid())],
        capture_output=True,
        text=True,
    ).stdout
    assert str(tmp_path) not in children


def test_a_damaged_video_gives_what_it_has_and_says_so(tmp_path, caplog):
    path = write(tmp_path / "v.mkv", "-c:v", "mpeg4", "-g", "1")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found = len(list(open_video(path).frames()))
    assert 0 < found < LENGTH


@pytest.mark.parametrize(
    "content",
    [b"\0\0\0\x18ftypmp42" + b"\0" * 400, b"RIFF\0\0\0\0AVI " + b"x" * 300, b"\x1aE\xdf\xa3" * 60],
)
def test_a_video_that_is_not_one(content, tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match="v.mp4: not a video that ffmpeg can read"):
        read_recording(path)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", path)
    with pytest.raises(UserError, match="not a video that ffmpeg can read"):
        read_recording(path)


class Square:
    """A detector of the bright square: every joint at its centre; nothing in some frames."""

    layout, tracks = "halpe26", True
    blind = ()

    def __init__(self):
        self.frame = -1

    def detect(self, frame):
        self.frame += 1
        if self.frame in self.blind:
            return np.empty((0, 26, 3))
        y, x = np.argwhere(frame[:, :20].mean(-1) > 130).mean(0)
        shape = np.linspace(0, 4, 26)[:, None] * [1, -1]
        return np.concatenate([shape + [x, y], np.full((26, 1), 0.8)], 1)[None]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Blind(Square):
    blind = range(LENGTH)


class Blinking(Square):
    blind = (3, 4, 5)


@pytest.fixture
def detectors(monkeypatch):
    for known in (Square, Blind, Blinking):
        monkeypatch.setitem(registry.DETECTORS, known.__name__.lower(), known)


def test_a_detector_of_ones_own_is_one_class(detectors, tmp_path, caplog):
    caplog.set_level("INFO", "mpm")
    path = write(tmp_path / "v.mp4", "-c:v", "libx264", "-crf", "10")
    recording = read_recording(path, ReadOptions(detector="blinking"))
    assert recording.size == (WIDTH, HEIGHT) and recording.video == path
    assert recording.layout == "halpe26" and len(recording.people) == 1
    found = np.isfinite(recording.people[0].keypoints).all((1, 2))
    assert found.tolist() == [n not in (3, 4, 5) for n in range(LENGTH)]
    hips = recording.people[0].keypoints[found, 0]
    np.testing.assert_allclose(np.diff(hips[3:], axis=0), [[0, 1]] * (len(hips) - 4), atol=0.3)
    assert "somebody in 17 of 20 frames" in caplog.text


def test_nobody_in_a_video(detectors, tmp_path):
    path = write(tmp_path / "v.mp4", "-c:v", "libx264")
    with pytest.raises(UserError, match="no person in any of its 20 frames, numbers 0 to 19"):
        read_recording(path, ReadOptions(detector="blind"))
    with pytest.raises(UserError, match="detector 'deaf' is not one of mediapipe, square"):
        read_recording(path, ReadOptions(detector="deaf"))


def test_a_detector_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    path = write(tmp_path / "v.mp4", "-c:v", "libx264")
    with pytest.raises(UserError, match="finding joints in a video needs mediapipe==0.10.21: pip"):
        read_recording(path)


def test_keypoints_take_size_and_times_from_their_video(tmp_path):
    stretched = "setpts='if(lt(N,10),N,10+(N-10)*3)/25/TB'"
    video = write(tmp_path / "v.mp4", "-c:v", "libx264", "-fps_mode", "vfr", "-vf", stretched)
    poses = in_order("coco_17", person(12)) * 0.045
    path = alphapose(tmp_path / "a.json", [poses], skip=(0, 1))
    recording = read_recording(path, ReadOptions(video=video))
    assert recording.size == (WIDTH, HEIGHT) and recording.video == video
    np.testing.assert_allclose(recording.time, open_video(video).times[2:12])
    long = alphapose(tmp_path / "a.json", [np.concatenate([poses] * 2)])
    with pytest.raises(UserError, match=r"poses up to frame 23; .*v.mp4 has 20 frames"):
        read_recording(long, ReadOptions(video=video))


def test_detecting_in_one_environment_and_reading_in_another(detectors, tmp_path, monkeypatch):
    """What common.detect writes gives the recording that the video itself gives."""
    video, out = write(tmp_path / "v.mp4", "-c:v", "libx264"), tmp_path / "k.npz"
    run_here(monkeypatch, detect, video, "--output", out, "--detector", "blinking")
    straight = read_recording(video, ReadOptions(detector="blinking"))
    read = read_recording(out)
    np.testing.assert_array_equal(read.people[0].keypoints, straight.people[0].keypoints)
    np.testing.assert_array_equal(read.people[0].confidence, straight.people[0].confidence)
    np.testing.assert_array_equal(read.time, straight.time)
    assert (read.size, read.layout) == (straight.size, straight.layout)
    with pytest.raises(UserError, match="--force replaces it"):
        run_here(monkeypatch, detect, video, "--output", out)
    with pytest.raises(UserError, match="ends in .npz"):
        run_here(monkeypatch, detect, video, "--output", tmp_path / "k.json")
