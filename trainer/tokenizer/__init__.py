"""Text as token ids, in the forms that the passes read."""
