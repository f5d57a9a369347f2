"""
What does the proxy cost, beside nginx and HAProxy? C{python benchmarks/run.py}; see README.md in this folder.
"""
