"""The formats that motion is written in, by name."""

from common.motion_files.npz_file import save_npz
from common.motion_files.writer import MotionWriter

WRITERS = {
    writer.name: writer
    for writer in (MotionWriter("npz", "poses", ".npz", save_npz, per_person=True),)
}
