"""Every format of keypoint files becomes the same recording, whatever its quirks."""

import numpy as np
import pytest
from keypoint_files import (
    BODY,
    COCO,
    FILES,
    HALPE,
    MPII,
    OURS,
    SIZE,
    WITH_SCORE,
    alphapose,
    detectron,
    flat,
    in_order,
    mmpose,
    openpose,
    save,
    table,
    videopose3d,
    write_json,
)
from paths import SAMPLE

from common.data.skeleton import H36M_17
from common.keypoints.reading import ReadOptions, read_recording

LIMBS = [j for j, name in enumerate(H36M_17.joint_names) if " " in name]  # left and right


def read(path, **options):
    return read_recording(path, ReadOptions(**({"size": SIZE, "fps": 25.0} | options)))


@pytest.mark.parametrize("kind", FILES)
def test_every_format_gives_the_same_person(kind, tmp_path):
    recording = read(FILES[kind](tmp_path))
    (someone,) = recording.people
    assert recording.size == SIZE and recording.skeleton is H36M_17
    np.testing.assert_allclose(someone.keypoints[:, LIMBS], OURS[:, LIMBS], atol=0.01)
    np.testing.assert_allclose(recording.time, np.arange(12) / 25)
    assert (someone.confidence > 0).all() and (someone.confidence <= 1).all()
    assert someone.keypoints.dtype == someone.confidence.dtype == np.float32
    assert recording.derived[H36M_17.joint_names.index("spine")]


@pytest.mark.parametrize(
    ("write", "layout"),
    [
        (lambda d: save(d / "k.npy", COCO), "coco"),
        (lambda d: save(d / "k.npy", WITH_SCORE), "coco"),
        (lambda d: table(d / "k.csv", WITH_SCORE), "coco"),
        (lambda d: mmpose(d / "k.json", COCO, listed=True), "coco"),
        (lambda d: save(d / "k.npy", MPII), "mpii"),
    ],
)
def test_where_two_orders_fit_the_user_says_which(write, layout, tmp_path):
    path = write(tmp_path)
    with pytest.raises(ValueError, match="does not tell: --layout h36m or --layout " + layout):
        read(path)
    found = read(path, layout=layout).people[0].keypoints
    np.testing.assert_allclose(found[:, LIMBS], OURS[:, LIMBS], atol=0.01)


def test_human36m_is_read_as_it_is(tmp_path):
    recording = read(save(tmp_path / "k.npy", OURS), layout="h36m")
    np.testing.assert_allclose(recording.people[0].keypoints, OURS, atol=0.01)
    assert not recording.derived.any()
    sixteen = read(save(tmp_path / "k.npy", np.delete(OURS, 9, 1)), layout="h36m")
    np.testing.assert_array_equal(np.flatnonzero(sixteen.derived), [9])
    np.testing.assert_allclose(
        np.delete(sixteen.people[0].keypoints, 9, 1), np.delete(OURS, 9, 1), atol=0.01
    )


@pytest.mark.parametrize(
    "ids",
    [
        lambda n: n + 1,
        lambda n: float(n + 1),
        lambda n: [n + 1.0],
        lambda n: [[n + 1.0], [n + 1.0]],
    ],
)
def test_alphapose_ids_are_tracks_in_every_shape(ids, tmp_path):
    """Ids are followed even where a person jumps, in any order of the records."""
    far = COCO.copy()
    far[6:] += 350
    recording = read(
        alphapose(tmp_path / "a.json", [COCO, far * 0.5], ids=ids, shuffle=True), size=(2000, 2000)
    )
    assert [p.name for p in recording.people] == ["1", "2"]
    np.testing.assert_allclose(
        recording.people[1].keypoints[:, LIMBS], in_ours(far * 0.5), atol=0.01
    )


def in_ours(coco):
    """The limbs of COCO poses in our order."""
    order = [12, 14, 16, 11, 13, 15, 5, 7, 9, 6, 8, 10]
    return coco[:, order]


@pytest.mark.parametrize("ids", [None, lambda n: 0.0, lambda n: [[0.0], [0.0]]])
def test_ids_that_are_all_zero_are_no_tracks(ids, tmp_path):
    other = COCO * 0.5 + [400, 10]
    recording = read(alphapose(tmp_path / "a.json", [other, COCO], ids=ids, shuffle=True))
    assert len(recording.people) == 2
    for someone, truth in zip(recording.people, (COCO, other), strict=True):
        np.testing.assert_allclose(someone.keypoints[:, LIMBS], in_ours(truth), atol=0.01)


def test_frames_without_records_stay_empty(tmp_path):
    path = alphapose(tmp_path / "a.json", [COCO], names="img_{:04d}.png", skip=(0, 1, 5, 6))
    recording = read(path)
    found = np.isfinite(recording.people[0].keypoints).all((1, 2))
    assert found.tolist() == [n not in (5, 6) for n in range(2, 12)]
    np.testing.assert_allclose(recording.time, np.arange(1, 11) / 25)  # img_0001 is the first


def test_openpose_people_change_places_and_frames_are_empty(tmp_path):
    other = in_order("body_25", OURS * 0.5 + [400, 10])
    folder = openpose(tmp_path / "o", [BODY, other])
    write_json(folder / "walk_000000000012_keypoints.json", {"version": 1.3, "people": []})
    recording = read(folder)
    assert [p.name for p in recording.people] == ["1", "2"] and len(recording.time) == 13
    for someone, truth in zip(recording.people, (OURS, OURS * 0.5 + [400, 10]), strict=True):
        np.testing.assert_allclose(someone.keypoints[:12, LIMBS], truth[:, LIMBS], atol=0.01)
        assert np.isnan(someone.keypoints[12]).all() and (someone.confidence[12] == 0).all()


def test_zeros_are_missing_joints(tmp_path):
    elbow = 3  # right, of BODY_25
    gone = BODY.copy()
    gone[4:7, elbow] = 0
    for frame, pose in enumerate(gone):
        sure = np.where((pose == 0).all(-1), 0.0, 0.8)
        content = {"version": 1.3, "people": [{"pose_keypoints_2d": flat(pose, sure)}]}
        write_json(tmp_path / "o" / f"walk_{frame:012d}_keypoints.json", content)
    someone = read(tmp_path / "o").people[0]
    ours = H36M_17.joint_names.index("right elbow")
    missing = np.isnan(someone.keypoints).any(-1)
    assert np.argwhere(missing).tolist() == [[f, ours] for f in (4, 5, 6)]
    np.testing.assert_array_equal(someone.confidence == 0, missing)


def test_a_single_openpose_file_is_one_frame(tmp_path):
    path = openpose(tmp_path / "o", [BODY]) / "walk_000000000003_keypoints.json"
    recording = read(path)
    np.testing.assert_allclose(recording.people[0].keypoints[0, LIMBS], OURS[3, LIMBS], atol=0.01)
    assert len(recording.time) == 1


def test_mmpose_folder_has_a_file_per_image(tmp_path):
    for n, pose in enumerate(HALPE):
        instance = {
            "keypoints": pose.tolist(),
            "keypoint_scores": [0.5] * 26,
            "bbox": [[0, 0, 1, 1]],
        }
        write_json(tmp_path / "p" / f"{n:06d}.json", [instance] if n != 4 else [])
    recording = read(tmp_path / "p")
    found = np.isfinite(recording.people[0].keypoints).all((1, 2))
    assert found.tolist() == [n != 4 for n in range(12)]


def test_mmpose_tracks(tmp_path):
    assert read(mmpose(tmp_path / "m.json", COCO, track=7)).people[0].name == "7"


def test_one_of_several_sequences_is_asked_for(tmp_path):
    path = videopose3d(tmp_path / "d.npz", {"a.mp4": COCO, "b.mp4": COCO + 5})
    with pytest.raises(ValueError, match="--sequence says which one of a.mp4, b.mp4"):
        read(path)
    with pytest.raises(ValueError, match="'c' is not one of a.mp4, b.mp4"):
        read(path, sequence="c")
    recording = read(path, sequence="b.mp4")
    np.testing.assert_allclose(
        recording.people[0].keypoints[:, LIMBS], OURS[:, LIMBS] + 5, atol=0.01
    )
    sample = read(SAMPLE / "data_2d_h36m_gt.npz", sequence="S9/Climbing/1")
    assert not sample.derived.any() and sample.layout == "h36m"
    meta = {"layout_name": "coco", "fps": 24, "video_metadata": {"a": {"w": 1000, "h": 1002}}}
    rated = read_recording(videopose3d(tmp_path / "d.npz", {"a": COCO}, metadata=meta))
    assert rated.time[1] == pytest.approx(1 / 24) and rated.size == SIZE


def test_detectron_frames_without_people(tmp_path):
    people = [[] if frame in (0, 3) else [pose] for frame, pose in enumerate(COCO)]
    recording = read(detectron(tmp_path / "v.npz", people), size=None)
    found = np.isfinite(recording.people[0].keypoints).all((1, 2))
    assert found.tolist() == [n not in (0, 3) for n in range(12)]
    assert recording.size == SIZE and recording.people[0].confidence.max() == pytest.approx(0.7)


def test_an_npz_tells_what_it_knows(tmp_path):
    times = np.cumsum(np.linspace(0.02, 0.05, 12))
    np.savez(tmp_path / "k.npz", keypoints=WITH_SCORE, layout="coco", size=SIZE, time=times)
    recording = read_recording(tmp_path / "k.npz")
    np.testing.assert_allclose(recording.time, times)
    assert recording.size == SIZE and recording.layout == "coco"
    np.savez(tmp_path / "k.npz", keypoints=COCO, layout="coco", w=SIZE[0], h=SIZE[1], fps=50)
    assert read_recording(tmp_path / "k.npz").time[1] == pytest.approx(0.02)


def test_a_csv_may_have_a_header_and_times(tmp_path):
    times = np.cumsum(np.linspace(0.02, 0.05, 12))
    header = ["time", *(f"j{n}" for n in range(52))]
    path = table(tmp_path / "k.csv", HALPE, header=header, first=times)
    np.testing.assert_allclose(read(path, fps=None).time, times)
    header[0] = "frame"
    numbered = table(tmp_path / "k.csv", HALPE, header=header, first=range(12))
    np.testing.assert_allclose(read(numbered).time, np.arange(12) / 25)


def test_portrait(tmp_path):
    """Taller than wide: the size of the image is not taken the other way round."""
    poses = COCO * [0.5, 1.5] + [200, 100]
    recording = read(alphapose(tmp_path / "a.json", [poses]), size=(1080, 1920))
    np.testing.assert_allclose(recording.people[0].keypoints[:, LIMBS], in_ours(poses), atol=0.01)


def test_what_is_assumed_is_said(tmp_path, caplog):
    caplog.set_level("INFO", "mpm")
    corners = COCO - COCO.min((0, 1))
    poses = corners / corners.max((0, 1)) * [1700, 1000] + 20
    recording = read_recording(alphapose(tmp_path / "a.json", [poses]))
    assert recording.size == (1920, 1080) and recording.time[1] == pytest.approx(1 / 30)
    said = caplog.text
    assert "assumed to have 1920 x 1080 pixels" in said and "30 frames/s are assumed" in said
