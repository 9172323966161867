"""The logger of every script: what a run reports goes through it."""

import logging

LOG = logging.getLogger("mpm")
