"""`report_any`: the report of a folder of results, whatever experiment made them."""

from pathlib import Path

from brodmann.report.report import report_folder
from brodmann.report.reproduced_report import report_reproduced
from brodmann.storage import read_json


def report_any(folder: str | Path) -> Path:
    """Write the report of a map, of a reproduced table or figure, or of a folder with many.

    Args:
        folder: what ``brodmann map`` or ``brodmann reproduce`` wrote.

    Returns:
        The path of the report.

    Raises:
        InputError: when the folder holds something else, or cannot be read.
    """
    about = Path(folder) / "run.json"
    if about.exists():
        run = read_json(about)
        if isinstance(run, dict) and run.get("experiment") == "map":
            return report_folder(folder)
    return report_reproduced(folder)
