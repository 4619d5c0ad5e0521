"""Benchmark suites, peers and reports."""
