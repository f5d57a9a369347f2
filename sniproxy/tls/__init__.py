"""
pyOpenSSL contexts, credentials and decisions about certificates; opens no socket.
"""
