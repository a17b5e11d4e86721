"""The commands of `tmrld track`."""
