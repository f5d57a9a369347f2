"""
The running program: configuration in place, reload, signals, processes.
"""
