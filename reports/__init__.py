"""The report: records and cards in, one HTML file out. Imports no TensorFlow.

    from cnn_repro.reports import build, load
    build(["reports/records"], "reports/html/report.html")      # the page, claims.csv and runs.csv
    load()                                                      # the claim table as a pandas DataFrame
"""
from .evidence import RECORDS, ReportError
from .render import Summary, build
from .tables import load, renew_readme, results_table

__all__ = ["RECORDS", "ReportError", "Summary", "build", "load", "renew_readme", "results_table"]
