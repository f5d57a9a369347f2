"""
Who takes a session.
"""
