"""
Tests of the demonstration.
"""
