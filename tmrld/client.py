"""A client of the control API: one request, one answer, errors as sentences."""
