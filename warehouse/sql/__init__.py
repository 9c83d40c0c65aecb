"""The lake for people who ask it in SQL: comments on its tables and columns, and views for the common joins."""
