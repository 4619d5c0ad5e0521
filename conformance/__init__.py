"""The conformance suite: every operation, dtype and awkward shape, on the user's own device."""
