"""`tmrld env`, one module for each thing that can be done with an environment."""
