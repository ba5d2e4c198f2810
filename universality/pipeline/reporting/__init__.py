"""From a finished run to its report: results, rows of tables, pages."""
