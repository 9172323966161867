"""3D motion as files for other programs and for people: arrays, text, rigs, videos, a viewer."""
