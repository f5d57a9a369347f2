"""
The tests of sniproxy/wire.
"""
