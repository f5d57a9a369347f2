"""
The nginx grammar: from text to checked, typed configuration.
"""
