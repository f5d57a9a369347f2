"""
The tests of sniproxy/endpoints.
"""
