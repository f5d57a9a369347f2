"""
The tests of sniproxy/stream.
"""
