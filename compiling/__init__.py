"""
How the project is built, and what of it is compiled. Not part of what is installed.
"""
