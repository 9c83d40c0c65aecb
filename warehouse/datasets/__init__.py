"""Dataset versions, their names, statistics and differences; and what stages have done for them."""
