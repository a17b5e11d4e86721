"""What TMRL 0.7.1 itself answered, in `tmrl.npz`, and the script that asked it."""
