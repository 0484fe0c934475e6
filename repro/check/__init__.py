"""The gradient check: every operator's backward pass against independent witnesses, on any backend."""
from .backends import forms, gradients, precision, second_derivatives
from .case import Case
from .witnesses import THRESHOLDS, cases, check, error_of, examine, summary

__all__ = ["Case", "THRESHOLDS", "cases", "check", "error_of", "examine", "forms", "gradients", "precision",
           "second_derivatives", "summary"]
