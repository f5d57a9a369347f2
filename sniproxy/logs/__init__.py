"""
Where lines go: error logs with levels, access logs with buffers, syslog.
"""
