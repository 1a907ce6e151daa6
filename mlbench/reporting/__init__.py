"""From files to tables, figures and pages; no torch."""
