"""Reports: tables, figures and text made of saved results; never of a model."""

from brodmann.report.report import print_tables, report_folder
from brodmann.report.results import Results, load_results

__all__ = ["Results", "load_results", "print_tables", "report_folder"]
