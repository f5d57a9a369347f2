"""
Sockets, and how bytes move between them; knows legs, not why a connection exists.
"""
