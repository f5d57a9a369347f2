"""
nginx's stream modules that http does not have, one file each.
"""
