"""Shows the results of a sweep as tables, figures and pages."""
