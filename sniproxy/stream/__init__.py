"""
nginx's stream modules, one file each, and the spine they hang on.
"""
