"""
The proxy between real programs: nginx, OpenSSL, OpenSSH, curl.
"""
