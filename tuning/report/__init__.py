"""The results of a sweep: tables, figures, pages."""
