"""Benchmarks: layouts, audit, protocols, runs, comparison and reports."""
