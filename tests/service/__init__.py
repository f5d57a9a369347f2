"""
The tests of sniproxy/service.
"""
