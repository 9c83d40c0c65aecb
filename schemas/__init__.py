"""Records and configs that every room shares. Imports nothing of ours."""
