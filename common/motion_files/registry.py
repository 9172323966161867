"""The formats that motion is written in, by name."""

from common.motion_files.bvh_file import save_bvh
from common.motion_files.csv_file import save_csv
from common.motion_files.gif_file import save_gif
from common.motion_files.json_file import save_json
from common.motion_files.npz_file import save_npz
from common.motion_files.trc_file import save_trc
from common.motion_files.video_file import save_video
from common.motion_files.viewer_file import save_viewer
from common.motion_files.writer import MotionWriter

WRITERS = {
    writer.name: writer
    for writer in (
        MotionWriter("npz", "poses", ".npz", save_npz, per_person=True),
        MotionWriter("csv", "poses", ".csv", save_csv),
        MotionWriter("json", "poses", ".json", save_json),
        MotionWriter("trc", "poses", ".trc", save_trc, per_person=True),
        MotionWriter("bvh", "poses", ".bvh", save_bvh, per_person=True),
        MotionWriter("video", "video", ".mp4", save_video),
        MotionWriter("gif", "video", ".gif", save_gif),
        MotionWriter("viewer", "viewer", ".html", save_viewer),
    )
}
