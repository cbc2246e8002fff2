"""Reports: tables, figures and text made of saved results; never of a model."""

from brodmann.report.folders import report_any
from brodmann.report.report import print_tables, report_folder
from brodmann.report.reproduced_report import report_reproduced
from brodmann.report.reproduced_terminal import print_reproduced
from brodmann.report.results import Results, load_results

__all__ = [
    "Results",
    "load_results",
    "print_reproduced",
    "print_tables",
    "report_any",
    "report_folder",
    "report_reproduced",
]
