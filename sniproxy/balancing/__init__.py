"""
Which peer of an upstream takes a session; the clock and the dice are handed in.
"""
