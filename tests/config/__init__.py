"""
The tests of sniproxy/config.
"""
