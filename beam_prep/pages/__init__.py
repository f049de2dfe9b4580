"""HTML pages of all packages: the base template, figures and tables."""
