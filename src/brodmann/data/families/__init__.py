"""Named data sets of three families: mathematics, programs, and the language of feelings."""

from brodmann.data.families import language, math, program  # noqa: F401 (registers the sets)
from brodmann.data.families.task_set import TASK_SETS, TaskSet

__all__ = ["TASK_SETS", "TaskSet"]
