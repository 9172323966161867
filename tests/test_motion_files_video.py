"""Drawn motion: what is in a film, when, and that players open it."""

import logging
import os
import struct
import sys
from dataclasses import replace
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from motions import moved, sample_motion, with_gaps
from PIL import Image

from common.errors import UserError
from common.inference.motion import PinholeCamera, State
from common.motion_files import gif_file, video_file
from common.motion_files.drawing import Magnified
from common.motion_files.film import Film
from common.motion_files.palette import PANEL, STATE_COLOURS, rgb
from common.motion_files.picture import Pictures, layout_for
from common.motion_files.registry import WRITERS
from common.motion_files.reprojection import joints_in_image, project
from common.motion_files.timeline import frame_rate, frames_at_rate, is_regular
from common.motion_files.viewpoint import stage_for
from common.motion_files.writer import WriteOptions

SMALL = (640, 360)
GAPS = dict(interpolated=slice(3, 5), recovered=slice(5, 8), empty=slice(9, 11))


def near(picture, colour, tolerance=12):
    """How many pixels of a picture have nearly a colour."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int((np.abs(pixels - colour).max(axis=-1) < tolerance).sum())


# ---- Time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "rounded"), [("25", 3), ("30000/1001", 3), ("60", 3), ("120", 4), ("24000/1001", 6)]
)
def test_rates_of_films_are_found_in_rounded_time_stamps(rate, rounded):
    time = np.round(np.arange(2000) / float(Fraction(rate)), rounded)
    assert is_regular(time)
    assert float(frame_rate(time)) == pytest.approx(float(Fraction(rate)), rel=1e-4)
    np.testing.assert_array_equal(frames_at_rate(time, frame_rate(time)), np.arange(2000))


@pytest.mark.parametrize("seed", range(20))
def test_a_frame_is_shown_from_its_time_to_that_of_the_next(seed):
    rng = np.random.default_rng(seed)
    time = 3.5 + np.cumsum(rng.choice([1, 1, 1, 2, 5], 50)) / 50
    shown = frames_at_rate(time, Fraction(50))
    moments = time[0] + np.arange(len(shown)) / 50
    assert len(shown) == round((time[-1] - time[0]) * 50) + 1
    for moment, frame in zip(moments, shown, strict=True):
        begun = [i for i, t in enumerate(time) if t <= moment + 1e-6]
        assert frame == begun[-1]


def test_one_frame_and_frames_of_one_time_have_a_rate():
    assert frame_rate(np.array([4.0])) > 0
    assert frame_rate(np.zeros(5)) > 0
    assert frames_at_rate(np.array([4.0]), Fraction(25)).tolist() == [0]


# ---- Pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1280, 720), (641, 361), (320, 180), (1920, 1080)])
@pytest.mark.parametrize(
    "image", [None, (1080, 1920), (1920, 1080), (1000, 1002), (99, 1001), (4000, 300)]
)
def test_layouts_are_even_and_do_not_overlap(size, image):
    layout = layout_for(size, image)
    width, height = layout.size
    assert width % 2 == height % 2 == 0
    assert 0 < width <= size[0] and 0 < height <= size[1]
    left, top, right, bottom = layout.scene
    assert 0 <= left < right <= width and 0 < top < bottom < height
    if image:
        x0, y0, x1, y1 = layout.image
        assert 0 <= x0 < x1 <= left and top <= y0 < y1 <= bottom
        assert (x1 - x0) / (y1 - y0) == pytest.approx(image[0] / image[1], rel=0.1)


def test_drawing_leaves_what_it_does_not_cover():
    rng = np.random.default_rng(0)
    before = rng.integers(0, 255, (60, 80, 3)).astype(np.uint8)
    image = Image.fromarray(before)
    canvas = Magnified(image, (-5, 10, 200, 50))
    canvas.line(np.array([10, 30]), np.array([60, 30]), (255, 0, 0), 4)
    canvas.put_back()
    after = np.asarray(image)
    assert (after[29:31, 12:58] == (255, 0, 0)).all()
    assert (after[:26] == before[:26]).all() and (after[35:] == before[35:]).all()
    assert Magnified(image, (90, 0, 100, 60)).empty


def test_joints_tell_by_colour_where_they_come_from():
    motion = with_gaps(sample_motion(frames=slice(0, 12)), **GAPS)
    pictures = Pictures([motion], SMALL, with_image=False)
    interpolated, recovered = (rgb(STATE_COLOURS[s]) for s in sorted(STATE_COLOURS))
    counts = {
        frame: [near(pictures.draw(frame, None), colour) for colour in (interpolated, recovered)]
        for frame in (0, 3, 6, 9)
    }
    assert counts[0] == counts[9]  # of the legend alone
    assert counts[3][0] > counts[0][0] + 50 and counts[3][1] == counts[0][1]
    assert counts[6][1] > counts[0][1] + 50 and counts[6][0] == counts[0][0]


def test_left_and_right_have_the_colours_of_the_skeleton():
    motion = sample_motion(frames=slice(0, 5))
    left = near(Pictures([motion], SMALL, with_image=False).draw(0, None), rgb("tab:blue"))
    swapped = replace(motion.skeleton, colours={**motion.skeleton.colours, "left": "tab:green"})
    other = Pictures([replace(motion, skeleton=swapped)], SMALL, with_image=False).draw(0, None)
    assert left > 300
    assert near(other, rgb("tab:blue")) < left / 10 and near(other, rgb("tab:green")) > 300


def test_what_was_not_detected_is_drawn_where_the_pose_puts_it():
    motion = with_gaps(sample_motion(frames=slice(0, 12)), **GAPS)
    seen = sample_motion(frames=slice(0, 12)).keypoints_2d
    found = joints_in_image(motion, 6)
    assert np.isnan(motion.keypoints_2d[6]).any() and not np.isnan(found).any()
    # The cameras of Human3.6M have another formula of tangential distortion.
    assert np.linalg.norm(found - seen[6], axis=-1).max() < 3
    assert np.isnan(joints_in_image(motion, 9)).all()


def test_projection_is_that_of_opencv():
    camera = PinholeCamera((8, 8), (100, 200), (10, 20), (0.1, 0.0, 0.01, 0.02, 0.0))
    # By hand: x 0.5, y 0.25, r2 0.3125; radial 1.03125; tangential as in OpenCV's documentation.
    x = 0.5 * 1.03125 + 2 * 0.01 * 0.125 + 0.02 * (0.3125 + 2 * 0.25)
    y = 0.25 * 1.03125 + 0.01 * (0.3125 + 2 * 0.0625) + 2 * 0.02 * 0.125
    points = np.array([[1.0, 0.5, 2.0], [1, 1, -1], [0, 0, 3]])
    wanted = [[10 + 100 * x, 20 + 200 * y], [np.nan, np.nan], [10, 20]]
    np.testing.assert_allclose(project(points, camera), wanted)


@pytest.mark.parametrize("size", [(800, 600), (300, 700), (900, 250)])
@pytest.mark.parametrize("clip", [("S7", "Spinning"), ("S1", "Climbing"), ("S6", "Walking")])
def test_the_view_holds_the_motion(clip, size):
    motion = sample_motion(*clip, frames=slice(0, 300))
    stage = stage_for([motion], *size)
    points, depth = stage.view.project(motion.world_3d, stage.targets[:, None])
    inside = (points >= 0) & (points <= size)
    assert inside.mean() > 0.99 and (depth > 0).all()
    spans = np.ptp(points.reshape(-1, 2), axis=0) / size
    assert spans.max() > 0.6  # and fills the picture


def test_who_goes_far_is_followed():
    motion = sample_motion(frames=slice(0, 200))
    path = np.linspace(0, 40, 200)[:, None, None] * np.array([1, 0.5, 0])
    stage = stage_for(
        [replace(motion, world_3d=(motion.world_3d + path).astype(np.float32))], 640, 360
    )
    still = stage_for([motion], 640, 360)
    assert np.ptp(still.targets, axis=0).max() == 0
    assert np.ptp(stage.targets[:, 0]) > 30
    assert stage.radius < 6  # what is in the picture does not grow with the way
    assert np.abs(np.diff(stage.targets, n=2, axis=0)).max() < 0.05  # smoothly


def test_a_wild_frame_does_not_spoil_the_others():
    motion = sample_motion("S1", "Climbing", frames=slice(0, 500))
    arrays = {name: getattr(motion, name).copy() for name in ("world_3d", "keypoints_2d")}
    for array in arrays.values():
        array[2] = 1e6
    pictures = Pictures([replace(motion, **arrays)], SMALL, with_image=False)
    assert near(pictures.draw(0, None), rgb("tab:blue")) > 100
    pictures.draw(2, None)


# ---- Films -----------------------------------------------------------------------------------


def marked(count, rate, size=(90, 160)):
    """Images of one colour each, which tells their number; `taken` counts them."""
    for number in range(count):
        marked.taken = number + 1
        yield number / rate, np.full((size[1], size[0], 3), 10 * number, np.uint8)


def shown_number(picture, box):
    """The number of the image of `marked` in a picture, from a corner that no joint covers."""
    return round(picture.getpixel((box[0] + 2, box[1] + 2))[0] / 10)


def test_images_stand_beside_their_own_poses():
    motion = sample_motion(frames=slice(0, 20))
    kept = np.array([0, 1, 2, 7, 8, 12, 19])
    arrays = ("poses_3d", "root_3d", "world_3d", "keypoints_2d", "confidence", "state")
    uneven = replace(
        motion, time=motion.time[kept], **{name: getattr(motion, name)[kept] for name in arrays}
    )
    film = Film([uneven], SMALL, rate=Fraction(50), images=marked(20, 50))
    box = layout_for(SMALL, motion.camera.size).image
    numbers = [shown_number(picture, box) for picture in film]
    assert numbers == [0, 1, 2, 2, 2, 2, 2, 7, 8, 8, 8, 8, 12, 12, 12, 12, 12, 12, 12, 19]


def test_films_are_drawn_as_they_are_watched():
    film = Film(
        [sample_motion(frames=slice(0, 20))], SMALL, rate=Fraction(50), images=marked(20, 50)
    )
    next(iter(film))
    assert marked.taken <= 2


def test_a_recording_that_ends_early_keeps_its_last_image():
    motion = sample_motion(frames=slice(0, 9))
    film = Film([motion], SMALL, rate=Fraction(50), images=marked(4, 50))
    box = layout_for(SMALL, motion.camera.size).image
    assert [shown_number(picture, box) for picture in film] == [0, 1, 2, 3, 3, 3, 3, 3, 3]


def probe(path):
    """What ffmpeg reads of a video: its description, and its frames (M, H, W, 3)."""
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    width, height = about["size"]
    frames = [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]
    return about, np.stack(frames)


def boxes(path):
    """The names of the outer boxes of an mp4 file, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name.decode())
        at += length
    return names


@pytest.mark.slow
def test_mp4_is_what_players_open(tmp_path):
    motion = with_gaps(sample_motion(frames=slice(0, 12)), **GAPS)
    people = [motion, moved(motion, (1, 0, 0), name="Ünï <b>")]
    (path,) = WRITERS["video"].write(people, tmp_path, options=WriteOptions(size=(641, 363)))
    about, frames = probe(path)
    assert about["codec"] == "h264" and about["pix_fmt"].startswith("yuv420p")
    assert about["fps"] == 50 and len(frames) == 12
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    assert boxes(path).index("moov") < boxes(path).index("mdat")  # starts before it is loaded
    assert near(Image.fromarray(frames[0]), rgb(PANEL)) > 0.3 * frames[0].size / 3
    assert os.listdir(tmp_path) == ["video.mp4"]


@pytest.mark.slow
def test_a_fast_recording_is_shown_in_its_own_time(tmp_path):
    motion = sample_motion(frames=slice(0, 48), rate=240.0)
    (path,) = WRITERS["video"].write([motion], tmp_path, options=WriteOptions(size=(320, 180)))
    about, frames = probe(path)
    assert about["fps"] == 60 and len(frames) == 12


@pytest.mark.slow
def test_the_frames_of_a_video_are_drawn(tmp_path):
    source = tmp_path / "phone.mp4"
    writer = imageio_ffmpeg.write_frames(str(source), (160, 162), fps=50, macro_block_size=2)
    writer.send(None)
    for number in range(6):
        writer.send(np.full((162, 160, 3), 40 * number, np.uint8).tobytes())
    writer.close()
    options = WriteOptions(video=source, size=SMALL)
    motion = sample_motion(frames=slice(0, 6))
    (path,) = WRITERS["video"].write([motion], tmp_path / "out", options=options)
    box = layout_for(SMALL, motion.camera.size).image
    corners = probe(path)[1][:, box[1] + 4, box[0] + 4, 0]
    np.testing.assert_allclose(corners, 40 * np.arange(6), atol=12)


def test_gif_plays_in_time_and_keeps_the_colours(tmp_path):
    motion = with_gaps(sample_motion(frames=slice(0, 50)), **GAPS)
    (path,) = WRITERS["gif"].write([motion], tmp_path)
    with Image.open(path) as gif:
        durations, counts = [], []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            durations.append(gif.info["duration"])
            counts.append(near(gif, rgb(STATE_COLOURS[State.INTERPOLATED])))
        assert counts[1] > counts[0] + 50  # 0.08 s: frame 4, interpolated
        assert sum(durations) == pytest.approx(1000, abs=80) and gif.info["loop"] == 0


def test_a_long_gif_ends_and_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(gif_file, "LONGEST", 0.5)
    motion = sample_motion(frames=slice(0, 60))
    with caplog.at_level(logging.INFO, "mpm"):
        (path,) = WRITERS["gif"].write([motion], tmp_path)
    assert "the first 0.5 s" in caplog.text
    with Image.open(path) as gif:
        assert gif.n_frames <= 7


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [["-preset", "none"], ["-frames:v", "3"]])
def test_a_video_that_ffmpeg_does_not_finish_is_none(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr(video_file, "ENCODING", [*encoding, *video_file.ENCODING[2:]])
    motion = sample_motion(frames=slice(0, 30))
    with pytest.raises(UserError, match=r"cannot write .*video\.mp4: ffmpeg stopped early"):
        WRITERS["video"].write([motion], tmp_path, options=WriteOptions(size=(320, 180)))
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_ffmpeg_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match="a video needs imageio-ffmpeg: pip install"):
        WRITERS["video"].write([sample_motion(frames=slice(0, 2))], tmp_path)
