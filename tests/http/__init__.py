"""
The tests of sniproxy/http.
"""
