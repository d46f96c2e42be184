"""What will hurt a pipeline later: for `rigatoni doctor`."""
