"""
nginx's http modules, one file each, and the requests they serve.
"""
