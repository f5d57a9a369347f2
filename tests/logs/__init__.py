"""
The tests of sniproxy/logs.
"""
