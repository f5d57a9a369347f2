"""
C{--demo}: both machines of the tutorial on loopback, with throwaway certificates, and commands that try every route.
"""
