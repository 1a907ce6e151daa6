"""The report: from run folders to one page with its tables, by files alone."""
