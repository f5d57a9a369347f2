"""
The tests mirror the house: tests/x/test_y.py proves sniproxy/x/y.py.
"""
