"""Networks of Masked Pose Modeling; this package imports torch only."""
