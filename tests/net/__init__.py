"""
The tests of sniproxy/net.
"""
