"""
What C{stream} and C{http} share: connections and their phases, addresses and names, TLS, upstreams, maps and logs.
"""
