"""The doctor examines a run for faults, and names their likely causes and their fixes."""

from mezzotint.doctor.examination import diagnose, examine
from mezzotint.doctor.finding import Finding, Findings, Severity, Title

__all__ = ["Finding", "Findings", "Severity", "Title", "diagnose", "examine"]
