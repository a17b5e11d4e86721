"""Policies of TMRL 0.7.1 and what they did, and the script that asked them."""
