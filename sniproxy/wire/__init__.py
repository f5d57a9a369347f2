"""
Bytes to values, and values to bytes, for bytes an enemy may have written.

Pure: no socket, no clock, no TLS library. Nothing in here can be made to raise by what it reads, except L{WireError},
which carries the field that is wrong.
"""
