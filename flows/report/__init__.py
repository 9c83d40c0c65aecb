"""The report page: one self-contained HTML file about a dataset version or a model."""
