"""
The Twisted face: endpoints, endpoint strings, a splitter by server name.
"""
