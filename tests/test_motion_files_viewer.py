"""The viewer as a person has it: opened in a browser, turned, played, scrubbed."""

from dataclasses import replace

import numpy as np
import pytest
from chromium import Page
from motions import moved, sample_motion, with_gaps
from PIL import Image

from common.inference.motion import State
from common.motion_files.palette import STATE_COLOURS, rgb
from common.motion_files.registry import WRITERS

NASTY = "</script><script>document.title='owned'</script><!-- & \u2028 <b>"
# Frames 0-9 seen, 10-19 interpolated, 20-29 recovered, 40-49 empty.
GAPS = dict(interpolated=slice(10, 20), recovered=slice(20, 30), empty=slice(40, 50))
STILL = 60


def standing(frames=STILL):
    """A person who stands still, so that only states differ between frames."""
    motion = sample_motion(frames=slice(0, frames))
    return with_gaps(
        replace(motion, world_3d=np.repeat(motion.world_3d[:1], frames, axis=0)), **GAPS
    )


def pixels(page, path):
    """The picture of the page (H, W, 3)."""
    return np.asarray(Image.open(page.screenshot(path)).convert("RGB")).astype(int)


def count(picture, colour):
    """How many pixels have nearly a colour."""
    return int((np.abs(picture - colour).max(axis=-1) < 12).sum())


def scrub(page, frame):
    """Move the slider as a person does: set it, and let it say so."""
    page.evaluate(
        f"(() => {{ const s = document.getElementById('scrub'); s.value = {frame};"
        " s.dispatchEvent(new Event('input')); })()"
    )
    page.settle()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A viewer of two people, the second with a name that tries to break out."""
    folder = tmp_path_factory.mktemp("viewer")
    motion = standing()
    (path,) = WRITERS["viewer"].write([motion, moved(motion, (0.8, 0, 0), name=NASTY)], folder)
    with Page(path, folder / "profile") as opened:
        opened.settle()
        yield opened
        assert opened.problems == []


@pytest.fixture(autouse=True)
def from_the_start(page):
    page.evaluate("document.getElementById('reset').click()")
    page.evaluate("document.querySelectorAll('#people input').forEach(b => b.checked || b.click())")
    scrub(page, 0)


@pytest.mark.slow
def test_nothing_is_downloaded_and_names_stay_text(page):
    assert all(url.startswith("file://") and url.endswith("viewer.html") for url in page.requests)
    assert page.evaluate("document.title") == "2 people"
    assert page.evaluate("document.getElementById('people').textContent").endswith(NASTY)
    assert page.evaluate("document.querySelectorAll('script').length") == 3


@pytest.mark.slow
def test_states_have_their_colours(page, tmp_path):
    page.evaluate("document.getElementById('legend').hidden = true")
    page.evaluate("document.getElementById('strip').hidden = true")
    found = {}
    for frame in (0, 15, 25, 45):
        scrub(page, frame)
        picture = pixels(page, tmp_path / "page.png")
        found[frame] = [count(picture, rgb(STATE_COLOURS[s])) for s in (2, 3)]
    page.evaluate("document.getElementById('legend').hidden = false")
    page.evaluate("document.getElementById('strip').hidden = false")
    assert found[0] == found[45] == [0, 0]
    assert found[15][0] > 100 and found[15][1] == 0
    assert found[25][1] > 100 and found[25][0] == 0


@pytest.mark.slow
def test_a_frame_without_a_pose_says_so(page):
    hidden = "document.getElementById('note').hidden"
    assert page.evaluate(hidden)
    scrub(page, 45)
    assert not page.evaluate(hidden)
    assert page.evaluate("document.getElementById('time').textContent") == "0.90 / 1.18 s"


@pytest.mark.slow
def test_the_mouse_turns_zooms_and_moves_the_view(page, tmp_path):
    start = pixels(page, tmp_path / "a.png")
    page.drag((500, 300), (640, 330))
    turned = pixels(page, tmp_path / "b.png")
    assert (np.abs(turned - start).max(axis=-1) > 40).sum() > 2000
    page.evaluate("document.getElementById('reset').click()")
    page.settle()
    assert np.abs(pixels(page, tmp_path / "c.png") - start).max() == 0
    left = rgb("tab:blue")
    page.mouse("mouseWheel", 500, 300, deltaX=0, deltaY=-400)
    page.settle()
    assert count(pixels(page, tmp_path / "d.png"), left) > 1.3 * count(start, left)


@pytest.mark.slow
def test_fingers_turn_and_pinch(page, tmp_path):
    start = pixels(page, tmp_path / "a.png")
    page.touch("touchStart", (500, 300))
    page.touch("touchMove", (600, 300))
    page.touch("touchEnd")
    page.settle()
    turned = pixels(page, tmp_path / "b.png")
    assert (np.abs(turned - start).max(axis=-1) > 40).sum() > 2000
    page.touch("touchStart", (450, 300), (550, 300))
    page.touch("touchMove", (350, 300), (650, 300))
    page.touch("touchEnd")
    page.settle()
    left = rgb("tab:blue")
    assert count(pixels(page, tmp_path / "c.png"), left) > 1.3 * count(turned, left)


@pytest.mark.slow
def test_it_plays_pauses_and_steps(page):
    frame = "Number(document.getElementById('scrub').value)"
    page.evaluate("document.getElementById('play').click()")
    page.wait_for(f"{frame} > 5")
    page.evaluate("document.getElementById('play').click()")
    page.settle()
    stopped = page.evaluate(frame)
    page.settle()
    assert page.evaluate(frame) == stopped
    page.evaluate("document.getElementById('scene').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
    page.settle()
    assert page.evaluate(frame) == min(stopped + 1, STILL - 1)


@pytest.mark.slow
def test_people_can_be_hidden(page, tmp_path):
    both = count(pixels(page, tmp_path / "a.png"), rgb("tab:orange"))
    page.evaluate("document.querySelectorAll('#people input')[1].click()")
    page.settle()
    one = count(pixels(page, tmp_path / "b.png"), rgb("tab:orange"))
    assert 0.3 * both < one < 0.8 * both


@pytest.mark.slow
def test_the_pointer_on_a_joint_tells_what_it_is(page, tmp_path):
    scrub(page, 25)
    picture = pixels(page, tmp_path / "a.png")
    recovered = np.abs(picture - rgb(STATE_COLOURS[State.RECOVERED])).max(axis=-1) < 12
    recovered[:160] = recovered[-120:] = False  # the legend, the strip
    y, x = np.argwhere(recovered)[0]
    page.mouse("mouseMoved", float(x), float(y))
    told = page.evaluate("document.getElementById('tip').textContent")
    name, state, place = told.split("\n")
    assert state == "recovered" and place.endswith(" m")
    assert name.split(": ")[-1] in ("right shoulder", "right elbow", "right wrist")


@pytest.mark.slow
def test_the_dark_page_is_legible(page, tmp_path):
    def show(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.send("Emulation.setEmulatedMedia", features=features)
        page.settle()
        return pixels(page, tmp_path / f"{scheme}.png")

    light, dark = show("light"), show("dark")
    show("light")
    assert np.median(light) > 220 and np.median(dark) < 60
    # The dark grey of the trunk has been lightened: no bone is lost in the background.
    middle = dark[200:500, 300:700]
    assert (middle.min(axis=-1) > 130).sum() > 100
