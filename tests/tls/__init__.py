"""
The tests of sniproxy/tls.
"""
