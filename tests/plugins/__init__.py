"""
The tests of sniproxy/plugins.
"""
