"""
The tests of sniproxy/common.
"""
